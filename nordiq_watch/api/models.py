"""Versions on disk, and the live model. Versions are shown as models/NAME; times are ISO 8601."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from nordiq_watch.api.enums import VersionState
from nordiq_watch.api.quality import AccuracyByMetric


class TargetErrors(Struct, frozen=True):
    """Mean absolute errors of one target in validation, in its unit: of p50, of the last value, of the newest version's
    p50; null where there is none.
    """

    model: float | None
    last_value: float | None
    newest: float | None = None


class Comparison(Struct, frozen=True):
    """Errors in validation relative to others', means over the targets; below 1 is better.

    passed: whether it was good enough to be dropped by itself. newest: the newest version of its time; newest_skipped:
    why it was not compared.
    """

    windows: int
    beside_last_value: float | None
    passed: bool
    newest: str | None
    beside_newest: float | None
    newest_skipped: str | None
    targets: dict[str, TargetErrors]


class Training(Struct, frozen=True):
    """What a version's directory tells of its training; training_time in seconds."""

    epochs: int | None = None
    training_time: float | None = None
    servers_trained: int | None = None
    validation: dict[str, Any] | None = None
    comparison: Comparison | None = None


class Model(Struct, frozen=True, omit_defaults=True):
    """A version on disk. modified: UTC, without a zone. reason: why it cannot be loaded. generation: of the live one.

    sha256: of the weights, of the live one alone. accuracy: null until one of its forecasts came due.
    """

    path: str
    name: str
    timestamp: str | None
    is_current: bool
    state: VersionState
    size_mb: float
    modified: str
    sha256: str | None
    training: Training
    accuracy: AccuracyByMetric | None
    reason: str | None = None
    generation: int | None = None


class IgnoredEntry(Struct, frozen=True):
    """Something in the models directory that is no version, and why."""

    name: str
    reason: str


class Models(Struct, frozen=True):
    """The newest version is first. ignored: what lies there and is no version. pinned_missing: whether the pinned one
    has no directory any more; only with a pin. pinned_note: what that means.
    """

    models: list[Model]
    count: int
    models_dir: str
    current_model: str | None
    pinned_model: str | None
    pinned_missing: bool | UnsetType = UNSET
    pinned_note: str | UnsetType = UNSET
    ignored: list[IgnoredEntry] = []


class ModelConfig(Struct, frozen=True):
    """What the live model reads and forecasts. Lengths are in steps of interval_seconds."""

    max_prediction_length: int
    max_encoder_length: int
    interval_seconds: int
    quantiles: tuple[float, ...]
    metrics: tuple[str, ...]
    targets: tuple[str, ...]


class ModelServers(Struct, frozen=True):
    """total: servers that are tracked now; known: those of them that were in the training; trained: all of these."""

    total: int
    known: int
    trained: int


class ModelInfo(Struct, frozen=True):
    """The live model. compute: how it computes forecasts. warnings: what it does not do that the one before did.

    sha256, extras_sha256: of its weights and, only of a model with extras, of these. members: what its forecast is a
    blend of, the network first.
    """

    loaded: bool
    mode: Literal["tft"]
    model_path: str
    model_name: str
    model_timestamp: str | None
    generation: int
    sha256: str
    members: tuple[str, ...]
    compute: str
    config: ModelConfig
    servers: ModelServers
    training: Training
    warnings: tuple[str, ...]
    pinned: bool
    pinned_model: str | None
    extras_sha256: str | UnsetType = UNSET
    pinned_missing: bool | UnsetType = UNSET
    pinned_note: str | UnsetType = UNSET


class NoModel(Struct, frozen=True):
    """No model is live."""

    loaded: bool
    mode: Literal["none"]
    pinned: bool
    pinned_model: str | None
    pinned_missing: bool | UnsetType = UNSET
    pinned_note: str | UnsetType = UNSET
