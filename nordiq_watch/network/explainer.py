"""Explains one server's forecast: attention over time, variable selection, and the contribution of each input.

Everything is computed from the weights that serve: attributions from the gradients of the chosen p50, as it is served,
through scaling, network, unscaling and the model's further terms, in the metric's own unit; attention and variable
selection from a forward pass over the window. These two are the network's alone, so they say as much about the forecast
as the network's share of it.

The attributions' baseline is a window in which each metric stays at its own mean and the calendar inputs are at the
centre of their circle. They therefore answer: why does this forecast differ from that of a server with constant load?
What is derived from the encoder moves with it; a day or week before it stays as it was.
The time of day that a further member reads is held as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.attribution import Attribution, attribute
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.network.outputs import make_quantiles
from nordiq_watch.network.terms.blend import NETWORK, Terms
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec

_MEDIAN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """One forecast explained along the past; column -1 is the newest slot.

    attention (past,): weight of each slot for the chosen step; the rest up to 1 goes to earlier steps of the horizon.
    encoder_weights, decoder_weights: variable → mean selection weight over past and horizon. contributions: metric →
    (past,), and calendar input → its part, of forecast - baseline, in the target's unit. completeness_error: gap
    between their sum and that difference, as a share of it. members: member of the forecast → its weight in it; the
    network alone where the model has no extras.
    """

    attention: FloatArray
    encoder_weights: dict[str, float]
    decoder_weights: dict[str, float]
    contributions: dict[str, DoubleArray]
    calendar: dict[str, float]
    forecast: float
    baseline: float
    completeness_error: float
    members: dict[str, float]


class Explainer:
    """Explains the forecasts of one network. Its methods may be called from any thread."""

    def __init__(
        self,
        spec: ModelSpec,
        features: Features,
        network: TemporalFusionTransformer,
        *,
        terms: Terms | None,
        device: str,
    ) -> None:
        self._spec = spec
        self._terms = terms
        self._features = features
        self._network = network
        self._device = device
        self._median = int(np.argmin(np.abs(np.array(spec.quantiles) - _MEDIAN)))

    def explain(self, snapshot: WindowSnapshot, row: int, *, target: str, step: int) -> Explanation:
        """Explains the p50 of `target` at horizon `step` (from 0) for this row of the snapshot, which must be warm.

        Raises ValueError if the gradients are not finite.
        """
        attention, encoder_weights, decoder_weights = self._look_inside(snapshot, row, step=step)
        values = self._features.history_of(snapshot, row)  # (past, metrics)
        column = self._spec.targets.index(target)
        attribution = self._attribute(snapshot, row, values, target=column, step=step)
        by_metric = attribution.values[: values.numel()].reshape(values.shape).numpy()
        calendar = attribution.values[values.numel() :].tolist()
        return Explanation(
            attention=attention,
            encoder_weights=encoder_weights,
            decoder_weights=decoder_weights,
            contributions={metric: by_metric[:, index] for index, metric in enumerate(self._spec.metrics)},
            calendar=dict(zip(self._features.calendar, calendar, strict=True)),
            forecast=attribution.output,
            baseline=attribution.baseline_output,
            completeness_error=attribution.error,
            members=self._terms.weights_of(column, step) if self._terms else {NETWORK: 1.0},
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
        """Attributions of the past values one by one, followed by the calendar inputs, each as a whole."""
        shares = torch.ones(len(self._features.calendar))
        point = torch.cat([values.flatten(), shares])
        baseline = torch.cat([_means(values).expand_as(values).flatten(), torch.zeros_like(shares)])

        def median(points: Tensor) -> Tensor:
            histories = points[:, : values.numel()].reshape(len(points), *values.shape)
            inputs = self._features.build_variants(
                snapshot, row, histories, calendar_shares=points[:, values.numel() :]
            )
            return self._median_of(inputs, target=target, step=step)

        with torch.backends.cudnn.flags(enabled=False):  # cuDNN has gradients of an LSTM in training only
            return attribute(median, point, baseline)

    def _median_of(self, inputs: Inputs, *, target: int, step: int) -> Tensor:
        """(rows,): p50 in the target's unit, with its gradients."""
        output = self._network(*self._on_device(inputs)).cpu()
        quantiles = make_quantiles(self._spec, output, inputs, blend=self._terms)
        return quantiles[:, target, step, self._median]

    def _on_device(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return (
            inputs.encoder_cat.to(self._device),
            inputs.encoder_cont.to(self._device),
            inputs.encoder_lengths,
            inputs.decoder_cat.to(self._device),
            inputs.decoder_cont.to(self._device),
        )


def _means(values: Tensor) -> Tensor:
    """(past, metrics) → (metrics,): exact for a metric that never changes."""
    return torch.where(values.amin(dim=0) == values.amax(dim=0), values[0], values.mean(dim=0))
