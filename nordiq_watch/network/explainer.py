"""Why the network says what it says of one server: what it attended to, which variables it chose, what moved it.

Everything comes from the very weights that answer: attention and variable selection from a forward pass on the window,
attributions from the gradients of the chosen p50 through scaling, network and unscaling, in the metric's own unit.

The baseline of the attributions is a window in which each metric stays at its own mean and the calendar says nothing
(the middle of its circle). So they answer: why is this forecast not that of a server that is as always?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.attribution import Attribution, attribute
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.network.normalizers import restore
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.records import DoubleArray, FloatArray, WindowSnapshot
from nordiq_watch.spec import ModelSpec

_MEDIAN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One forecast, step by step of the past; column -1 of the past is the newest slot.

    attention (past,): how much the chosen step attends to each slot; what is missing to 1 goes to earlier steps ahead.
    encoder_weights, decoder_weights: variable → its mean share in the selection, over the past and over the horizon.
    contributions: metric → (past,), and calendar: input → its part, of forecast - baseline, in the target's unit.
    completeness_error: how far their sum is from that difference, as a share of it.
    """

    attention: FloatArray
    encoder_weights: dict[str, float]
    decoder_weights: dict[str, float]
    contributions: dict[str, DoubleArray]
    calendar: dict[str, float]
    forecast: float
    baseline: float
    completeness_error: float


class Explainer:
    """Explains the forecasts of one network. Its methods may be called from any thread."""

    def __init__(self, spec: ModelSpec, features: Features, network: TemporalFusionTransformer, *, device: str) -> None:
        self._spec = spec
        self._features = features
        self._network = network
        self._device = device
        self._median = int(np.argmin(np.abs(np.array(spec.quantiles) - _MEDIAN)))

    def explain(self, snapshot: WindowSnapshot, row: int, *, target: str, step: int) -> Explanation:
        """Why the p50 of `target` is what it is at `step` (from 0) for this row of the snapshot, which must be warm.

        ValueError if the gradients are not finite.
        """
        attention, encoder_weights, decoder_weights = self._look_inside(snapshot, row, step=step)
        values = self._features.history_of(snapshot, row)  # (past, metrics)
        attribution = self._attribute(snapshot, row, values, target=self._spec.targets.index(target), step=step)
        by_metric = attribution.values[: values.numel()].reshape(values.shape).numpy()
        calendar = attribution.values[values.numel() :].tolist()
        return Explanation(
            attention=attention,
            encoder_weights=encoder_weights,
            decoder_weights=decoder_weights,
            contributions={metric: by_metric[:, column] for column, metric in enumerate(self._spec.metrics)},
            calendar=dict(zip(self._features.calendar, calendar, strict=True)),
            forecast=attribution.output,
            baseline=attribution.baseline_output,
            completeness_error=attribution.error,
        )

    @torch.inference_mode()
    def _look_inside(
        self, snapshot: WindowSnapshot, row: int, *, step: int
    ) -> tuple[FloatArray, dict[str, float], dict[str, float]]:
        inputs = self._features.build(snapshot, np.array([row]))
        _, insight = self._network.look_inside(*self._on_device(inputs))
        past = int(inputs.encoder_lengths[0])
        encoder, decoder = self._network.encoder_variable_selection, self._network.decoder_variable_selection
        encoder_weights = insight.encoder_weights[0, :past].mean(dim=0).tolist()
        decoder_weights = insight.decoder_weights[0].mean(dim=0).tolist()
        attention: FloatArray = insight.attention[0, step, :past].cpu().numpy()
        return (
            attention,
            dict(zip(encoder.names, encoder_weights, strict=True)),
            dict(zip(decoder.names, decoder_weights, strict=True)),
        )

    def _attribute(self, snapshot: WindowSnapshot, row: int, values: Tensor, *, target: int, step: int) -> Attribution:
        """Of the past's values, one after the other, and behind them the calendar's inputs, each as a whole."""
        shares = torch.ones(len(self._features.calendar))
        point = torch.cat([values.flatten(), shares])
        baseline = torch.cat([_means(values).expand_as(values).flatten(), torch.zeros_like(shares)])

        def median(points: Tensor) -> Tensor:
            histories = points[:, : values.numel()].reshape(len(points), *values.shape)
            inputs = self._features.rehearse(snapshot, row, histories, calendar_shares=points[:, values.numel() :])
            return self._median_of(inputs, target=target, step=step)

        with torch.backends.cudnn.flags(enabled=False):  # cuDNN has gradients of an LSTM in training only
            return attribute(median, point, baseline)

    def _median_of(self, inputs: Inputs, *, target: int, step: int) -> Tensor:
        """(rows,): p50 in the target's unit, with its gradients."""
        output = self._network(*self._on_device(inputs)).cpu()[:, target, step : step + 1]  # (rows, 1, quantiles)
        normalizer = self._spec.target_normalizers[self._spec.targets[target]]
        restored = restore(normalizer, output, output_scale=inputs.output_scales[target])
        return restored[:, 0, self._median]

    def _on_device(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return (
            inputs.encoder_cat.to(self._device),
            inputs.encoder_cont.to(self._device),
            inputs.encoder_lengths,
            inputs.decoder_cat.to(self._device),
            inputs.decoder_cont.to(self._device),
        )


def _means(values: Tensor) -> Tensor:
    """(past, metrics) → (metrics,): exactly the value itself where a metric never changes."""
    return torch.where(values.amin(dim=0) == values.amax(dim=0), values[0], values.mean(dim=0))
