"""Which origins an evaluation has, and up to which horizons it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path

from nordiq_watch.errors import DatasetError
from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.network.calendar import DAY_SECONDS, slots_of
from nordiq_watch.tables.forms import AS_THEY_ARE, Forms

HORIZONS_SECONDS = (1800, 7200, 28_800)


@dataclass(frozen=True, slots=True)
class Order:
    """What to score versions on: the last `days` of a dataset, with an origin every `every_seconds`.

    horizons_seconds: those that are longer than a version's own horizon are left out, and that one is added.
    aggregates: as `window.aggregate` of the config. forms: how the dataset is to be read.
    """

    dataset: Path
    days: float = 3.0
    every_seconds: float = 3600.0
    horizons_seconds: Sequence[int] = HORIZONS_SECONDS
    aggregates: Mapping[str, str] = field(default_factory=dict)
    forms: Forms = AS_THEY_ARE


@dataclass(frozen=True, slots=True)
class Horizon:
    """All steps up to `steps`, which are `seconds`."""

    seconds: int
    steps: int


def choose_origins(fleet: RecordedFleet, order: Order, *, history: int, horizon: int) -> list[int]:
    """The first slot of each forecast, oldest first; the last forecast ends with the dataset.

    history, horizon: slots that a forecast reads and covers. Raises DatasetError if the dataset does not reach back
    that far before the first of the days, or the days do not hold one horizon.
    """
    evaluated = slots_of(order.days * DAY_SECONDS, fleet.interval_seconds)
    every = slots_of(order.every_seconds, fleet.interval_seconds)
    if evaluated < horizon:
        enough = ceil(horizon * fleet.interval_seconds / DAY_SECONDS * 100) / 100
        raise DatasetError(
            f"--days {order.days:g} are {evaluated} slots of {fleet.interval_seconds} s, one forecast covers {horizon}"
            f". Evaluate at least {enough:g} days."
        )
    first = fleet.end_slot - evaluated
    if first - history < fleet.first_slot:
        raise DatasetError(_too_short(fleet, order, history=history, horizon=horizon))
    return list(range(first, fleet.end_slot - horizon + 1, every))


def choose_horizons(seconds: Sequence[int], *, interval_seconds: int, steps: int) -> tuple[Horizon, ...]:
    """Those of `seconds` that are whole steps within the model's horizon of `steps`, and that horizon itself."""
    whole = steps * interval_seconds
    inside = {each for each in seconds if each < whole and each >= interval_seconds}
    return tuple(Horizon(each, each // interval_seconds) for each in sorted(inside | {whole}))


def _too_short(fleet: RecordedFleet, order: Order, *, history: int, horizon: int) -> str:
    available = fleet.end_slot - fleet.first_slot
    slots = f"{order.dataset}: holds {available} slots of {fleet.interval_seconds} s"
    if available < history + horizon:
        return f"{slots}, but one forecast needs {history} before its origin and {horizon} after it"
    longest = (available - history) * fleet.interval_seconds / DAY_SECONDS
    return (
        f"{slots}, of which {history} are needed before the first origin: too few for --days {order.days:g}. "
        f"Evaluate at most {floor(longest * 100) / 100:g} days."
    )
