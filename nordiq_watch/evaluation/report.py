"""The outcome of an evaluation and of a comparison, as `--json` prints it; docs/evaluation.md explains the fields."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Grouping = Literal["all", "profile", "hour"]
Verdict = Literal["a", "b", "none", "too_few_days"]


class Subject(Struct, frozen=True, kw_only=True):
    """A version that was scored. sha256: of its weights."""

    name: str
    path: str
    sha256: str


class Score(Struct, frozen=True, kw_only=True):
    """One forecaster's losses over `points` points, in the metric's unit, up to a horizon.

    by, of: the group of the points: all of them, those of a profile's servers, or those whose slot begins in that hour
    of the day ("00" to "23"). forecast: `model`, `live`, `last_value` or `day_before`; in a comparison `a` and `b`
    instead of the first two. coverage: the share of measurements from p10 to p90, ideally 0.8; None for a forecast that
    is a single value.
    """

    metric: str
    horizon_seconds: int
    by: Grouping
    of: str | None
    forecast: str
    points: int
    mae: float
    pinball: float
    coverage: float | None


class Setting(Struct, frozen=True, kw_only=True):
    """What the scores were computed from: the origins of the last `days` of a dataset, one every `every_seconds`.

    zone: of the hours of the day, the IANA name that the version's calendar has.
    """

    dataset: str
    days: float
    every_seconds: int
    interval_seconds: int
    origins: int
    first_origin: str
    last_origin: str
    servers: int
    zone: str


class Evaluation(Struct, frozen=True, kw_only=True):
    """How good a version is. notes: what a reader has to know, in plain words."""

    setting: Setting
    model: Subject
    live: Subject | None
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()


class Difference(Struct, frozen=True, kw_only=True):
    """The mean loss of `b` minus that of `a`, on the same points; below zero, `b` is better.

    low, high: its 95 % confidence interval; p: the two-sided p-value; None where the days are too few. See
    `significance`. verdict: which version is better at the 5 % level, or `none`.
    """

    metric: str
    horizon_seconds: int
    loss: Literal["mae", "pinball"]
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    days: int
    verdict: Verdict


class Comparison(Struct, frozen=True, kw_only=True):
    """Two versions on the same points."""

    setting: Setting
    a: Subject
    b: Subject
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
