"""Evaluates one version, or compares two, over rolling origins of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nordiq_watch.errors import DatasetError
from nordiq_watch.evaluation.dataset import load_for, missing_metrics
from nordiq_watch.evaluation.differences import list_differences
from nordiq_watch.evaluation.forecasters import DayBeforeForecaster, Forecaster, LastValueForecaster, VersionForecaster
from nordiq_watch.evaluation.origins import Order, choose_horizons, choose_origins
from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.evaluation.report import Comparison, Evaluation, Setting, Subject
from nordiq_watch.evaluation.scores import DAY_BEFORE, LAST_VALUE, Scored, list_scores
from nordiq_watch.evaluation.scoring import Progress, Scorer
from nordiq_watch.live.servable import Servable
from nordiq_watch.moments import write_moment
from nordiq_watch.network.derived_inputs import reads_back
from nordiq_watch.training.dataset import FleetData


def _silent(done: int, total: int) -> None:
    pass


def evaluate(
    model: Servable, order: Order, *, live: Servable | None = None, progress: Progress = _silent
) -> Evaluation:
    """Scores `model` beside naive forecasts and, where it can forecast this dataset too, the live version.

    Raises DatasetError for a dataset that cannot be used, or is too short.
    """
    beside = live if live is not None and live.spec.interval_seconds == model.spec.interval_seconds else None
    data = load_for([model], order.dataset, beside=beside, aggregates=order.aggregates, forms=order.forms)
    notes = list(data.repairs)
    if live is not None and (beside is None or missing_metrics(beside, data)):
        notes.append(_why_not(live, model, data))
        beside = None
    models = {"model": model, **({"live": beside} if beside else {})}
    spec = model.spec
    scope = _Scope(spec.targets, reads_back(spec), spec.max_prediction_length, spec.calendar.zone)
    scored, setting = _score(models, data, order, scope, progress)
    return Evaluation(
        setting=setting,
        model=describe_version(model),
        live=describe_version(beside) if beside else None,
        scores=list_scores(scored),
        notes=tuple(notes),
    )


def compare(a: Servable, b: Servable, order: Order, *, progress: Progress = _silent) -> Comparison:
    """Scores both on the points that both forecast: common targets, up to the shorter horizon.

    Raises DatasetError for a dataset that cannot be used or is too short, and for versions without a common target.
    """
    targets = tuple(target for target in a.spec.targets if target in b.spec.targets)
    if not targets:
        raise DatasetError(
            f"{a.name} forecasts {', '.join(a.spec.targets)}, {b.name} {', '.join(b.spec.targets)}: nothing to compare"
        )
    data = load_for([a, b], order.dataset, aggregates=order.aggregates, forms=order.forms)
    scope = _Scope(
        targets,
        history=max(reads_back(a.spec), reads_back(b.spec)),
        steps=min(a.spec.max_prediction_length, b.spec.max_prediction_length),
        zone=a.spec.calendar.zone,
    )
    scored, setting = _score({"a": a, "b": b}, data, order, scope, progress)
    return Comparison(
        setting=setting,
        a=describe_version(a),
        b=describe_version(b),
        scores=list_scores(scored),
        differences=list_differences(scored, days=int(order.days)),
        notes=data.repairs,
    )


def describe_version(model: Servable) -> Subject:
    return Subject(name=model.name, path=str(model.version.path), sha256=model.identity.sha256)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Targets and steps that are scored. history: slots before the first origin. zone: of the hours of the day."""

    targets: tuple[str, ...]
    history: int
    steps: int
    zone: str


def _score(
    models: Mapping[str, Servable], data: FleetData, order: Order, scope: _Scope, progress: Progress
) -> tuple[Scored, Setting]:
    fleet, targets = RecordedFleet(data), scope.targets
    origins = choose_origins(fleet, order, history=scope.history, horizon=scope.steps)
    horizons = choose_horizons(order.horizons_seconds, interval_seconds=fleet.interval_seconds, steps=scope.steps)
    forecasters: dict[str, Forecaster] = {
        **{name: VersionForecaster(model, fleet, targets) for name, model in models.items()},
        LAST_VALUE: LastValueForecaster(fleet, targets, length=scope.history),
        DAY_BEFORE: DayBeforeForecaster(fleet, targets),
    }
    scorer = Scorer(fleet, forecasters, targets=targets, horizons=horizons, origins=origins, zone=scope.zone)
    scorer.run(progress)
    if not any(sums.by_origin.any() for sums in scorer.sums.values()):
        raise DatasetError(f"{order.dataset}: no server has enough history, and measurements after it, at any origin")
    return Scored(targets, horizons, scorer.profiles, scorer.sums), _describe(fleet, order, origins, scope.zone)


def _describe(fleet: RecordedFleet, order: Order, origins: Sequence[int], zone: str) -> Setting:
    return Setting(
        dataset=str(order.dataset),
        days=order.days,
        every_seconds=int(order.every_seconds),
        interval_seconds=fleet.interval_seconds,
        origins=len(origins),
        first_origin=write_moment(origins[0] * fleet.interval_seconds),
        last_origin=write_moment(origins[-1] * fleet.interval_seconds),
        servers=len(fleet.servers),
        zone=zone,
    )


def _why_not(live: Servable, model: Servable, data: FleetData) -> str:
    if live.spec.interval_seconds != model.spec.interval_seconds:
        return f"live: {live.name} has slots of {live.spec.interval_seconds} s and is not shown"
    return f"live: {live.name} reads {', '.join(missing_metrics(live, data))}, which the dataset lacks; it is not shown"
