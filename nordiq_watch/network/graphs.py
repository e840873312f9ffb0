"""The fused forward pass with static shapes: on a GPU, one CUDA graph per batch size, replayed for every forecast.

A graph is a few hundred kernels at fixed addresses, launched as one. PyTorch's requirements and where they are met
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs):

- inputs and outputs stay where they are: `_Buffers`, outside of the graphs' own memory, so that nothing in there
  outlives a replay: all sizes share one pool and may be replayed in any order;
- static shapes: a batch is padded to a power of two, so that a growing fleet needs no new graph; there are six at most;
- nothing depends on the data, reads host memory or waits for the device: `FoldedForward.run_whole`;
- lazy initialisation (cuBLAS, cuDNN) happens before: warm-up runs in the thread and on the stream that capture;
- no other work on the GPU during a capture, from any thread: `ONE_AT_A_TIME`.

Without a GPU, and if a graph cannot be captured, the same is computed on the same buffers kernel by kernel.
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
from nordiq_watch.network.fused import FoldedForward
from nordiq_watch.network.tft import TemporalFusionTransformer

log = logging.getLogger(__name__)

ONE_AT_A_TIME = threading.RLock()
"""Held while working on a GPU."""

_WARM_UPS = 3
_FEWEST, _MOST = 32, 1024
_NUMBERS_AT_ONCE = 32_768
"""Servers times hidden size. With an encoder of 288 and a horizon of 96, one layer's output is 50 MB."""


class StaticForward:
    """Thread-safe: one thread computes while others wait. Implements `forward.Forward`."""

    def __init__(self, network: TemporalFusionTransformer, *, encoder: int, captures: bool | None = None) -> None:
        """The forward pass runs on the device of `network`.

        encoder: slots of a whole encoder; batches with a shorter one are computed by `FoldedForward`. captures: whether
        to try CUDA graphs; None means on a GPU only.
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
        """Batch sizes with a captured graph."""
        return self._graphs.sizes if self._graphs else ()

    @property
    def buffer_bytes(self) -> int:
        """Device memory of the buffers; that of the graphs is not known."""
        return sum(part.nbytes for part in (*self._buffers.inputs, self._buffers.output)) if self._buffers else 0

    @torch.inference_mode()
    def run(self, inputs: Inputs) -> Tensor:
        """Scaled quantiles (servers, targets, horizon, quantiles), in host memory."""
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
        """Computes the first `size` rows of the output from those of the inputs."""
        buffers.output[:size].copy_(self._folded.run_whole(*(part[:size] for part in buffers.inputs)))

    def _capture(self, buffers: _Buffers, size: int) -> None:
        """Captures a graph of this size, or records that it failed so that it is not tried again."""
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
    """The graph's batch size for this many servers, at least one."""
    return max(_FEWEST, 1 << (servers - 1).bit_length())


def largest_portion(hidden_size: int) -> int:
    """A power of two, so that full batches fill a graph."""
    return 1 << (max(_FEWEST, min(_MOST, _NUMBERS_AT_ONCE // hidden_size)).bit_length() - 1)


def _current(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@dataclass(frozen=True, slots=True)
class _Buffers:
    """Input and output memory of a graph. Rows beyond the batch keep old content; rows do not affect each other.

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
        """A copy of the first rows of the output, once computed."""
        fetched = self.fetched[:servers]
        fetched.copy_(self.output[:servers], non_blocking=True)
        if self.output.is_cuda:
            torch.cuda.current_stream().synchronize()
        return fetched.clone()


def _parts(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return inputs.encoder_cat, inputs.encoder_cont, inputs.decoder_cat, inputs.decoder_cont


class _Graphs:
    """One graph per batch size, on the current device."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._of_size: dict[int, torch.cuda.CUDAGraph] = {}

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted(self._of_size))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Runs on the graphs' stream, after everything queued before."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield

    def capture(self, size: int, compute: Callable[[], None]) -> None:
        """Raises some RuntimeError if it fails."""
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
