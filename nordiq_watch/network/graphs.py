"""The folded forward pass with static shapes: on a GPU one CUDA graph for each size of a portion, replayed every sweep.

A graph is some hundred kernels at fixed addresses, launched as one. What PyTorch asks of it, and where that is met
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs):

- inputs and outputs stay where they are: `_Buffers`, outside of the graphs' own memory, so that nothing in there
  outlives a replay: all sizes share one pool and may be replayed in any order;
- static shapes: a portion is filled up to a power of two, so that a fleet that grows needs no new graph: there are six
  at most;
- nothing depends on the data, comes from the host or waits for the device: `FoldedForward.run_whole`;
- what is initialised on first use (cuBLAS, cuDNN) is so before: warm-ups, in the thread and on the stream that capture;
- no other work on the GPU while a graph is captured, from whatever thread: `ONE_AT_A_TIME`.

Without a GPU, and where a graph cannot be captured, the same is computed on the same buffers kernel by kernel.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.folded import FoldedForward
from nordiq_watch.network.tft import TemporalFusionTransformer

log = logging.getLogger(__name__)

ONE_AT_A_TIME = threading.RLock()
"""Held by whoever works on a GPU."""

_WARM_UPS = 3
_FEWEST, _MOST = 32, 1024
_NUMBERS_AT_ONCE = 32_768
"""Servers times hidden size. With an encoder of 288 and a horizon of 96, the output of one layer is 50 MB."""


class StaticForward:
    """From any thread; one computes, the others wait. A `forward.Forward`."""

    def __init__(self, network: TemporalFusionTransformer, *, encoder: int, captures: bool | None = None) -> None:
        """`network` in host memory or on a GPU: the forward runs where it is.

        encoder: how long a whole one is; portions in which any is shorter are computed by `FoldedForward`.
        captures: whether to try CUDA graphs; None stands for: on a GPU.
        """
        self._folded = FoldedForward(network)
        self._outputs = (len(network.spec.output_size), network.spec.output_size[0])
        self._device = next(network.parameters()).device
        self._encoder = encoder
        self._captures = self._device.type == "cuda" if captures is None else captures
        self._graphs: _Graphs | None = None
        self._buffers: _Buffers | None = None
        self.servers_at_once = largest_portion(network.spec.hidden_size)

    @property
    def name(self) -> str:
        return "folded-graph" if self._captures else "folded"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the graphs that were captured."""
        return self._graphs.sizes if self._graphs else ()

    @property
    def buffer_bytes(self) -> int:
        """Memory that the buffers take on the device; the graphs' own is not known."""
        return sum(part.nbytes for part in (*self._buffers.inputs, self._buffers.output)) if self._buffers else 0

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Tensor:
        """The scaled quantiles, (servers, targets, horizon, quantiles), in host memory."""
        servers = len(inputs.encoder_lengths)
        with ONE_AT_A_TIME, _current(self._device):
            if servers > self.servers_at_once or bool((inputs.encoder_lengths < self._encoder).any()):
                return self._folded.run(inputs)
            if self._buffers is None:
                self._buffers = _Buffers.like(
                    inputs, rows=self.servers_at_once, outputs=self._outputs, device=self._device
                )
            return self._run_whole(inputs, self._buffers, padded(servers))

    def _run_whole(self, inputs: Inputs, buffers: _Buffers, size: int) -> Tensor:
        if self._captures:
            self._capture(buffers, size)
        with self._graphs.current() if self._graphs else nullcontext():
            buffers.fill(inputs)
            if self._graphs:
                self._graphs.replay(size)
            else:
                self._compute(buffers, size)
            return buffers.fetch(len(inputs.encoder_lengths))

    def _compute(self, buffers: _Buffers, size: int) -> None:
        """From the first `size` rows of the inputs to those of the output."""
        buffers.output[:size].copy_(self._folded.run_whole(*(part[:size] for part in buffers.inputs)))

    def _capture(self, buffers: _Buffers, size: int) -> None:
        """Makes sure that there is a graph of this size, or that none is tried again."""
        try:
            if self._graphs is None:
                self._graphs = _Graphs(self._device)
            self._graphs.capture(size, lambda: self._compute(buffers, size))
        except RuntimeError as error:
            self._graphs, self._captures = None, False
            log.warning(
                "no CUDA graph can be captured (%s): forecasts are computed without",
                str(error).partition("\n")[0],
            )


def padded(servers: int) -> int:
    """The size of the graph for so many servers, at least one."""
    return max(_FEWEST, 1 << (servers - 1).bit_length())


def largest_portion(hidden_size: int) -> int:
    """A power of two, so that whole portions fill a graph."""
    return 1 << (max(_FEWEST, min(_MOST, _NUMBERS_AT_ONCE // hidden_size)).bit_length() - 1)


def _current(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@dataclass(frozen=True, slots=True)
class _Buffers:
    """What a graph reads and writes. Rows behind those of a portion keep what was there: rows do not know each other.

    inputs: encoder_cat, encoder_cont, decoder_cat and decoder_cont. fetched: the output in host memory, page-locked if
    it comes from a GPU.
    """

    inputs: tuple[Tensor, Tensor, Tensor, Tensor]
    output: Tensor
    fetched: Tensor

    @classmethod
    def like(cls, inputs: Inputs, *, rows: int, outputs: tuple[int, int], device: torch.device) -> _Buffers:
        """outputs: targets and quantiles."""
        targets, quantiles = outputs
        shape = (rows, targets, inputs.decoder_cont.shape[1], quantiles)
        past_cat, past_cont, future_cat, future_cont = (
            torch.zeros(rows, *part.shape[1:], dtype=part.dtype, device=device) for part in _parts(inputs)
        )
        return cls(
            inputs=(past_cat, past_cont, future_cat, future_cont),
            output=torch.zeros(shape, device=device),
            fetched=torch.zeros(shape, pin_memory=device.type == "cuda"),
        )

    def fill(self, inputs: Inputs) -> None:
        for buffer, part in zip(self.inputs, _parts(inputs), strict=True):
            buffer[: len(part)].copy_(part)

    def fetch(self, servers: int) -> Tensor:
        """A copy of the first rows of the output, once they are computed."""
        fetched = self.fetched[:servers]
        fetched.copy_(self.output[:servers], non_blocking=True)
        if self.output.is_cuda:
            torch.cuda.current_stream().synchronize()
        return fetched.clone()


def _parts(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return inputs.encoder_cat, inputs.encoder_cont, inputs.decoder_cat, inputs.decoder_cont


class _Graphs:
    """One graph for each size. The device is the current one."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._of_size: dict[int, torch.cuda.CUDAGraph] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted(self._of_size))

    @contextmanager
    def current(self) -> Iterator[None]:
        """On the graphs' stream, behind all that was begun before."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield

    def capture(self, size: int, compute: Callable[[], None]) -> None:
        """RuntimeError of whatever kind if that cannot be done."""
        if size in self._of_size:
            return
        with self.current():  # which leaves the stream again even if a capture that fails does not
            for _ in range(_WARM_UPS):
                compute()
            graph = torch.cuda.CUDAGraph()
            # thread_local: what other threads may do even now, as freeing memory, is no reason to give up
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                compute()
        self._of_size[size] = graph

    def replay(self, size: int) -> None:
        self._of_size[size].replay()
