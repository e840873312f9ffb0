"""One model, ready to forecast: a window of metrics in, quantiles in the metrics' own units out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.errors import ConfigError
from nordiq_watch.network.checks import check_spec
from nordiq_watch.network.explainer import Explainer, Explanation
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.network.fleet_forward import DeviceSweep, HostSweep, Sweep
from nordiq_watch.network.forward import PlainForward, Way, choose_forward
from nordiq_watch.network.graphs import ONE_AT_A_TIME, StaticForward
from nordiq_watch.network.outputs import make_quantiles
from nordiq_watch.network.prediction import Prediction
from nordiq_watch.network.terms.blend import Terms, members_of
from nordiq_watch.network.terms.member import Blend
from nordiq_watch.network.terms.native_terms import choose_blend
from nordiq_watch.network.weights import build_network, count_bytes, move_network, to_tensors
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.models import RawTensor
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec

_OUT_OF_MEMORY = ("can't allocate memory", "std::bad_alloc", "out of memory", "_STATUS_ALLOC_FAILED")


class Predictor:
    """`predict` is thread-safe and deterministic."""

    def __init__(
        self,
        spec: ModelSpec,
        tensors: Mapping[str, RawTensor],
        *,
        device: str,
        extras: Mapping[str, RawTensor] | None = None,
        prefer: Way = "native",
    ) -> None:
        """Raises checks.UnusableSpec, weights.WeightsMismatch or member.UnusableExtras, all ValueErrors, and
        MemoryError. On the CPU the tensors' buffers are used in place and must not be written to any more.

        extras: the tensors of extras.safetensors, of a spec that names extras. prefer: the best way of computing that
        may be chosen, to reproduce a machine without the better ones.
        """
        check_spec(spec)
        self._spec = spec
        self._device = device
        self._prefer: Way = prefer
        self._features = Features(spec)
        with _turn(device), _memory_errors():
            self._terms = Terms(spec, to_tensors(extras or {})).on(device) if spec.extras else None
            self._network = build_network(spec.network, tensors, device=device)
            self._prepare()

    def _prepare(self) -> None:
        spec, network = self._spec, self._network
        self._forward = choose_forward(
            network, device=self._device, prefer=self._prefer, encoder=spec.max_encoder_length
        )
        self._blend: Blend | None = choose_blend(self._terms, prefer=self._prefer, device=self._device)
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
    def members(self) -> tuple[str, ...]:
        """Names of what the forecast is made of: the network, and what the extras add to it."""
        return members_of(self._spec)

    @property
    def weight_bytes(self) -> int:
        """Device memory of the weights, the extras' too."""
        return count_bytes(self._network) + (self._terms.nbytes if self._terms else 0)

    @property
    def working_bytes(self) -> int:
        """Device memory held besides the weights so far; another model of the same fleet will need as much."""
        if isinstance(self._sweep, DeviceSweep) and isinstance(self._forward, StaticForward):
            return self._sweep.window_bytes + self._forward.buffer_bytes
        return 0

    def on(self, device: str) -> Predictor:
        """The same network on another device; this one is unchanged. Raises MemoryError."""
        moved = copy.copy(self)
        moved._device = device
        with ONE_AT_A_TIME, _memory_errors():
            moved._terms = self._terms.on(device) if self._terms else None
            moved._network = move_network(self._network, device)
            moved._prepare()
        return moved

    def explain(self, snapshot: WindowSnapshot, row: int, *, target: str, step: int) -> Explanation:
        """Explains the p50 of one target of one warm server at one step; see network.explainer."""
        explainer = Explainer(self._spec, self._features, self._network, terms=self._terms, device=self._device)
        with _turn(self._device), _memory_errors():
            return explainer.explain(snapshot, row, target=target, step=step)

    def predict(self, snapshot: WindowSnapshot) -> Prediction:
        """Quantiles of every warm server. Raises ValueError for a window that lacks an input of the model, and
        MemoryError.
        """
        horizon, quantiles = self._spec.max_prediction_length, len(self._spec.quantiles)
        alone = ONE_AT_A_TIME if isinstance(self._sweep, DeviceSweep) else _turn(self._device)
        with alone, _memory_errors():
            rows, portions = self._sweep.cut(snapshot)
            values = np.empty((len(rows), len(self._spec.targets), horizon, quantiles), dtype=np.float32)
            for places, inputs in portions:
                values[places] = self._forecast(inputs)
        return Prediction(rows=rows, values=values)

    def predict_each(self, snapshots: Sequence[WindowSnapshot]) -> list[Prediction]:
        """`predict` of each. A network that is computed as it was trained passes all of them at once, if their warm
        servers fit into one portion together.
        """
        rows = [self._features.warm_rows(snapshot) for snapshot in snapshots]
        fit = all(map(len, rows)) and sum(map(len, rows)) <= self._forward.servers_at_once
        if not isinstance(self._forward, PlainForward) or not fit:
            return [self.predict(snapshot) for snapshot in snapshots]
        with _turn(self._device), _memory_errors():
            parts = [self._features.build(snapshot, warm) for snapshot, warm in zip(snapshots, rows, strict=True)]
            outputs = zip(rows, parts, self._forward.run_together(parts), strict=True)
            return [Prediction(rows=warm, values=self._finish(scaled, part)) for warm, part, scaled in outputs]

    @torch.inference_mode()
    def _forecast(self, inputs: Inputs) -> FloatArray:
        return self._finish(self._forward.run(inputs), inputs)

    @torch.inference_mode()
    def _finish(self, scaled: Tensor, inputs: Inputs) -> FloatArray:
        """(servers, targets, horizon, quantiles), NaN where a target was never measured."""
        values: FloatArray = make_quantiles(self._spec, scaled, inputs, blend=self._blend).numpy()
        return np.where(inputs.measured[:, :, None, None], values, np.float32("nan"))


def _turn(device: str) -> AbstractContextManager[object]:
    return nullcontext() if device == "cpu" else ONE_AT_A_TIME


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turns every out-of-memory error of torch (GPU, host, page-locked, cuBLAS, cuDNN) into MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from None
        raise


def limit_threads(count: int) -> None:
    """Sets how many cores one forward pass may use, for the whole process."""
    torch.set_num_threads(count)


def free_device_bytes(device: str) -> int:
    """Free memory of a GPU."""
    return torch.cuda.mem_get_info(device)[0]


def resolve_device(setting: str) -> str:
    """The torch device that the setting `device` selects. Raises ConfigError if that GPU does not exist."""
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
