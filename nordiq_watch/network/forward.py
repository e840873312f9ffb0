"""Chooses how a forward pass is computed. All ways give the same quantiles up to float32 rounding.

static   the fused network in torch with static shapes, replayed as CUDA graphs on a GPU
native   the fused network in C++ on the CPU, if a compiler was available at installation
folded   the fused network in torch, on any device
plain    the network as trained, where fusing would take more memory and time than a reload may
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.fused import FoldedForward
from nordiq_watch.network.graphs import StaticForward
from nordiq_watch.network.native import NativeForward
from nordiq_watch.network.native_library import load_library
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.weights import count_bytes

FOLDED_UP_TO_BYTES = 32_000_000
"""A hidden size of 256 has 23 MB of weights. Fusing in float64 temporarily takes three times the network's size; beyond
this limit the matrices are so large that fusing saves little.
"""

Way = Literal["static", "native", "folded", "plain"]


class Forward(Protocol):
    """Maps inputs to scaled quantiles. Thread-safe."""

    @property
    def name(self) -> str:
        """folded-graph, native-avx512, native-avx2, native-baseline, folded or plain."""

    @property
    def servers_at_once(self) -> int:
        """Number of servers to pass per call."""

    def run(self, inputs: Inputs) -> Tensor:
        """(servers, targets, horizon, quantiles), in host memory."""


class PlainForward:
    """The network itself, on its own device."""

    name = "plain"
    servers_at_once = 32
    """pytorch-forecasting took 1.55 times as long with 128 and 1.15 times with 8 (two cores)."""

    def __init__(self, network: TemporalFusionTransformer) -> None:
        self._network = network
        self._device = next(network.parameters()).device

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Tensor:
        output: Tensor = self._network(
            inputs.encoder_cat.to(self._device),
            inputs.encoder_cont.to(self._device),
            inputs.encoder_lengths,
            inputs.decoder_cat.to(self._device),
            inputs.decoder_cont.to(self._device),
        )
        return output.cpu()

    def run_together(self, parts: Sequence[Inputs]) -> list[Tensor]:
        """What `run` gives for each, in one pass: with few servers, reading the weights is most of its time."""
        longest = max(part.encoder_cont.shape[1] for part in parts)
        joined = replace(
            parts[0],
            encoder_cat=torch.cat([_pad_steps(part.encoder_cat, longest) for part in parts]),
            encoder_cont=torch.cat([_pad_steps(part.encoder_cont, longest) for part in parts]),
            encoder_lengths=torch.cat([part.encoder_lengths for part in parts]),
            decoder_cat=torch.cat([part.decoder_cat for part in parts]),
            decoder_cont=torch.cat([part.decoder_cont for part in parts]),
        )
        return list(torch.split(self.run(joined), [len(part.encoder_lengths) for part in parts]))


def _pad_steps(past: Tensor, steps: int) -> Tensor:
    """(servers, fewer steps, inputs) → (servers, steps, inputs), with zeros behind."""
    return F.pad(past, (0, 0, 0, steps - past.shape[1]))


def choose_forward(network: TemporalFusionTransformer, *, device: str, prefer: Way, encoder: int) -> Forward:
    """The fastest way, from `prefer` on, to compute this network on its device.

    encoder: slots of a whole encoder. On the CPU `static` is only taken if asked for by name.
    """
    if device != "cpu":
        torch.backends.cudnn.allow_tf32 = False  # the default for LSTMs: ten bits of each number's fraction
    if prefer == "plain" or count_bytes(network) > FOLDED_UP_TO_BYTES:
        return PlainForward(network)
    if prefer == "static" or (prefer == "native" and device != "cpu"):
        return StaticForward(network, encoder=encoder)
    library = load_library() if prefer == "native" else None
    return FoldedForward(network) if library is None else NativeForward(network, library)
