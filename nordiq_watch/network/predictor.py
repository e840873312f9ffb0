"""One model, ready to forecast: a window of metrics in, quantiles in the metrics' own units out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch

from nordiq_watch.errors import ConfigError
from nordiq_watch.network.checks import check_spec
from nordiq_watch.network.explainer import Explainer, Explanation
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.network.forward import Way, choose_forward
from nordiq_watch.network.graphs import ONE_AT_A_TIME, StaticForward
from nordiq_watch.network.normalizers import restore
from nordiq_watch.network.sweep import DeviceSweep, HostSweep, Sweep
from nordiq_watch.network.weights import build_network, count_bytes, move_network
from nordiq_watch.records import FloatArray, Prediction, RawTensor, WindowSnapshot
from nordiq_watch.spec import ModelSpec

_OUT_OF_MEMORY = ("can't allocate memory", "std::bad_alloc", "out of memory", "_STATUS_ALLOC_FAILED")


class Predictor:
    """`predict` may be called from any thread and gives the same for the same window."""

    def __init__(
        self, spec: ModelSpec, tensors: Mapping[str, RawTensor], *, device: str, prefer: Way = "native"
    ) -> None:
        """Raises checks.UnusableSpec or weights.WeightsMismatch, both ValueErrors, and MemoryError. On the CPU the
        tensors' buffers are used as they are: nobody may write to them any more.

        prefer: the best way to compute that may be taken, to compute as a machine without the better ones does.
        """
        check_spec(spec)
        self._spec = spec
        self._device = device
        self._prefer: Way = prefer
        self._features = Features(spec)
        with _turn(device), _memory_errors():
            self._network = build_network(spec.network, tensors, device=device)
            self._prepare()

    def _prepare(self) -> None:
        spec, network = self._spec, self._network
        self._forward = choose_forward(
            network, device=self._device, prefer=self._prefer, encoder=spec.max_encoder_length
        )
        portion = self._forward.servers_at_once
        self._sweep: Sweep = HostSweep(self._features, servers_at_once=portion)
        if isinstance(self._forward, StaticForward):
            self._sweep = DeviceSweep(self._features, spec, servers_at_once=portion, device=self._device)

    @property
    def compute(self) -> str:
        """How forecasts are computed: folded-graph, native-avx512, native-avx2, native-baseline, folded or plain."""
        return self._forward.name

    @property
    def device(self) -> str:
        return self._device

    @property
    def weight_bytes(self) -> int:
        """Memory that the weights take on the device."""
        return count_bytes(self._network)

    @property
    def working_bytes(self) -> int:
        """Memory that is kept on a GPU beside the weights so far; another model of the same fleet will want as much."""
        if isinstance(self._sweep, DeviceSweep) and isinstance(self._forward, StaticForward):
            return self._sweep.window_bytes + self._forward.buffer_bytes
        return 0

    def on(self, device: str) -> Predictor:
        """The same network on another device; this one is left as it is. MemoryError if there is no room."""
        moved = copy.copy(self)
        moved._device = device
        with ONE_AT_A_TIME, _memory_errors():
            moved._network = move_network(self._network, device)
            moved._prepare()
        return moved

    def explain(self, snapshot: WindowSnapshot, row: int, *, target: str, step: int) -> Explanation:
        """Why the p50 of one target of one warm server is what it is at one step; see network.explainer."""
        explainer = Explainer(self._spec, self._features, self._network, device=self._device)
        with _turn(self._device), _memory_errors():
            return explainer.explain(snapshot, row, target=target, step=step)

    def predict(self, snapshot: WindowSnapshot) -> Prediction:
        """The quantiles of every warm server. ValueError for a window that lacks what the model reads; MemoryError."""
        horizon, quantiles = self._spec.max_prediction_length, len(self._spec.quantiles)
        alone = ONE_AT_A_TIME if isinstance(self._sweep, DeviceSweep) else _turn(self._device)
        with alone, _memory_errors():
            rows, portions = self._sweep.cut(snapshot)
            values = np.empty((len(rows), len(self._spec.targets), horizon, quantiles), dtype=np.float32)
            for places, inputs in portions:
                values[places] = self._forecast(inputs)
        return Prediction(rows=rows, values=values)

    @torch.inference_mode()
    def _forecast(self, inputs: Inputs) -> FloatArray:
        """(servers, targets, horizon, quantiles), NaN where a target was never measured."""
        scaled = self._forward.run(inputs)
        targets = zip(self._spec.targets, scaled.unbind(dim=1), inputs.output_scales, strict=True)
        restored = [
            restore(self._spec.target_normalizers[target], output, output_scale=scale.cpu())
            for target, output, scale in targets
        ]
        values: FloatArray = torch.stack(restored, dim=1).numpy()
        return np.where(inputs.measured[:, :, None, None], values, np.float32("nan"))


def _turn(device: str) -> AbstractContextManager[object]:
    return nullcontext() if device == "cpu" else ONE_AT_A_TIME


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Out of memory is a MemoryError, on whatever device: torch raises its own for a GPU's, for the host's, page-locked
    or not, a bare RuntimeError, and what cuBLAS and cuDNN say.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from None
        raise


def limit_threads(count: int) -> None:
    """How many cores one forward pass may take, in the whole process."""
    torch.set_num_threads(count)


def free_device_bytes(device: str) -> int:
    """Memory that is free on a GPU."""
    return torch.cuda.mem_get_info(device)[0]


def resolve_device(setting: str) -> str:
    """The torch device that the setting `device` means here. ConfigError for a GPU that is not there."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if setting == "auto":
        return "cuda" if gpus else "cpu"
    if setting == "cpu":
        return setting
    index = int(setting.partition(":")[2] or 0)
    if index >= gpus:
        found = f"it finds {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "it finds no GPU"
        raise ConfigError(
            f"device is {setting}, but torch {torch.__version__} cannot use it: {found}. Set it to auto or cpu."
        )
    return setting
