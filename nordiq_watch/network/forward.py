"""Which way a forward pass is computed: all ways give the same quantiles, up to float32's last digits.

static   the folded network in torch with static shapes, which a GPU replays as CUDA graphs;
native   the folded network in C++, on the CPU, where the package was installed with a compiler at hand;
folded   the folded network in torch, on any device;
plain    the network as it was trained, where folding it would cost more memory and time than a reload may.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.folded import FoldedForward
from nordiq_watch.network.graphs import StaticForward
from nordiq_watch.network.native import NativeForward
from nordiq_watch.network.native_library import load_library
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.weights import count_bytes

FOLDED_UP_TO_BYTES = 32_000_000
"""A hidden size of 256 has 23 MB of weights. While it is folded, in float64, a network takes three times its size once
more; beyond this, the matrices are so large that there is little left to save.
"""

Way = Literal["static", "native", "folded", "plain"]


class Forward(Protocol):
    """Inputs in, scaled quantiles out. From any thread, also from several at once."""

    @property
    def name(self) -> str:
        """folded-graph, native-avx512, native-avx2, native-baseline, folded or plain."""

    @property
    def servers_at_once(self) -> int:
        """How many servers to give it in one call."""

    def run(self, inputs: Inputs) -> Tensor:
        """(servers, targets, horizon, quantiles), in host memory."""


class PlainForward:
    """The network itself, on the device where it is."""

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


def choose_forward(network: TemporalFusionTransformer, *, device: str, prefer: Way, encoder: int) -> Forward:
    """The quickest way, from `prefer` on, to compute this network on the device where it is.

    encoder: how long a whole one is. On the CPU `static` is only taken where it is asked for by name.
    """
    if device != "cpu":
        torch.backends.cudnn.allow_tf32 = False  # the default for LSTMs: ten bits of each number's fraction
    if prefer == "plain" or count_bytes(network) > FOLDED_UP_TO_BYTES:
        return PlainForward(network)
    if prefer == "static" or (prefer == "native" and device != "cpu"):
        return StaticForward(network, encoder=encoder)
    library = load_library() if prefer == "native" else None
    return FoldedForward(network) if library is None else NativeForward(network, library)
