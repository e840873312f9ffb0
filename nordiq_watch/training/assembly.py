"""From a trained network to the version that is served: the members beside it, their blend, its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nordiq_watch.network.terms.blend import BLEND, members_of
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.budget import Budget
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.gate import Contender, build_contender
from nordiq_watch.training.members.descent import Parameters
from nordiq_watch.training.members.extras_fit import ExtrasFit, Progress
from nordiq_watch.training.replay import Replay, forecast_quantiles
from nordiq_watch.training.timeseries import Split
from nordiq_watch.training.windows import Places, SeriesWindows

_FIRST_PASS = {"linear": 0.1, "rows": 0.25}
_SECOND_PASS = {"linear": 0.35, "rows": 0.9}
"""Of the time that is left when it begins, a member's fit may take this much; where time is plenty it ends before."""

_SECOND_PASS_SLACK = 1.2
_SECOND_PASS_SHARE = 0.5
"""For the second pass the first one's time is kept, and a little more, but at most this share of what is left."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """A version, and its own forecasts of the validation windows, which it was neither fitted nor trained on.

    extras: the tensors of the extras after the first pass; none where the network is alone. quantiles (windows,
    targets, steps, quantiles): in the metrics' units.
    """

    contender: Contender
    extras: Parameters
    quantiles: FloatArray

    @property
    def p50(self) -> FloatArray:
        """(windows, steps, targets)."""
        median: FloatArray = self.quantiles[..., self.contender.spec.quantiles.index(0.5)].swapaxes(1, 2)
        return median


class Assembly:
    """Completes one version. members: what forecasts beside the network, by name; none leaves the network alone."""

    def __init__(self, split: Split, spec: ModelSpec, *, members: Sequence[str], seed: int, budget: Budget) -> None:
        """spec: the network's, trained or not."""
        self._split = split
        self._budget = budget
        self._fit = ExtrasFit(spec, tuple(members), list(split.fill_values.values()), seed=seed)
        self._fitted: Parameters = {}
        self._seconds = 0.0

    def fit(self) -> None:
        """The first pass: members fitted on the training half. It goes before the network's training, which then gets
        all the time that is not needed for the second pass.
        """
        begin = self._budget.spent
        self._fitted = self._timed(_FIRST_PASS).fit(self._split.training.source) if self._fit.members else {}
        self._seconds = self._budget.spent - begin

    @property
    def network_share(self) -> float:
        """The network's share of the time that is left after the first pass."""
        kept = _SECOND_PASS_SLACK * self._seconds / self._budget.left if self._budget.left else 1.0
        return 1.0 - min(_SECOND_PASS_SHARE, kept) if self._fit.members else 1.0

    def assemble(self, spec: ModelSpec, tensors: Mapping[str, Tensor], replay: Replay, places: Places) -> Assembled:
        """Weighs the members and the trained network on the validation windows `places`.

        spec, tensors: the network, as exported. replay: the same windows.
        """
        fit = replace(self._fit, spec=spec)
        network = build_contender(spec, tensors)
        alone = self._forecast(network, replay)
        if not fit.members:
            return Assembled(network, {}, alone)
        extras = self._fitted | fit.weigh(self._fitted, alone, self._split.validation.source, places)
        whole = build_contender(fit.extended, tensors, extras)
        return Assembled(whole, extras, self._forecast(whole, replay))

    def renew(self, assembled: Assembled, data: FleetData) -> Parameters:
        """The second pass: the members fitted on all days, weights and calibration as they were."""
        if not self._fit.members:
            return {}
        source = self._split.training.source
        shortest = source.shortest_past + source.horizon
        series = [series for series in data.series if len(series.values) >= shortest]
        windows = SeriesWindows(series, shortest_past=source.shortest_past, horizon=source.horizon)
        return dict(assembled.extras) | self._timed(_SECOND_PASS).fit(windows)

    def _forecast(self, contender: Contender, replay: Replay) -> FloatArray:
        return forecast_quantiles(contender.predictor, contender.spec, replay, targets=contender.spec.targets)

    def _timed(self, shares: Mapping[str, float]) -> ExtrasFit:
        def time_for(member: str) -> Progress:
            phase = self._budget.phase(shares[member])
            return lambda: phase.progress

        return replace(self._fit, time_for=time_for)


def describe_blend(assembled: Assembled) -> str:
    """How much each member counts, on average over targets and steps: `network 32 %, linear 30 %, rows 38 %`."""
    shares = assembled.extras[BLEND].mean(dim=(1, 2)).tolist()
    names = members_of(assembled.contender.spec)
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in zip(names, shares, strict=True))
