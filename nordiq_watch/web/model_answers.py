"""Describes versions on disk and the live model for clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import UNSET, Struct, UnsetType

from nordiq_watch.api import models as api
from nordiq_watch.api.enums import ReloadOutcome, ReloadTrigger, VersionState
from nordiq_watch.api.queries import MOST_RELOADS
from nordiq_watch.errors import StorageError
from nordiq_watch.live.servable import Servable
from nordiq_watch.reload.version_status import VersionStatus
from nordiq_watch.spec import Comparison, TrainingInfo
from nordiq_watch.web.quality import describe_version
from nordiq_watch.web.services import services

_MEGABYTE = 1_000_000


def describe_models() -> api.Models:
    """Every version on disk. Raises StorageError if the models directory cannot be listed."""
    catalogue, live = services().reloads, services().live.peek()
    statuses, ignored = catalogue.look()
    pin = _describe_pin(statuses)
    return api.Models(
        models=[_describe_version(status) for status in statuses],
        count=len(statuses),
        models_dir=catalogue.shown("").rstrip("/"),
        current_model=None if live is None else catalogue.shown(live.name),
        pinned_model=pin.model,
        pinned_missing=pin.missing,
        pinned_note=pin.note,
        ignored=[api.IgnoredEntry(entry.name, entry.reason) for entry in ignored],
    )


def describe_live() -> api.ModelInfo | api.NoModel:
    """The live model, if there is one."""
    live, pinned = services().live.peek(), services().reloads.pinned
    pin = _describe_pin(_statuses_for(pinned))
    if live is None:
        return api.NoModel(
            loaded=False,
            mode="none",
            pinned=pinned is not None,
            pinned_model=pin.model,
            pinned_missing=pin.missing,
            pinned_note=pin.note,
        )
    return api.ModelInfo(
        loaded=True,
        mode="tft",
        model_path=services().reloads.shown(live.name),
        model_name=live.name,
        model_timestamp=live.version.timestamp,
        generation=live.identity.generation,
        sha256=live.identity.sha256,
        extras_sha256=live.identity.extras_sha256 or UNSET,
        members=live.predictor.members,
        compute=live.predictor.compute,
        config=_describe_config(live),
        servers=_count_servers(live),
        training=_describe_training(live.training),
        warnings=_losses_of(live),
        pinned=pinned is not None,
        pinned_model=pin.model,
        pinned_missing=pin.missing,
        pinned_note=pin.note,
    )


class _Pin(Struct, frozen=True):
    """The fields of an answer that describe a pin."""

    model: str | None = None
    missing: bool | UnsetType = UNSET
    note: str | UnsetType = UNSET


def _describe_pin(statuses: Sequence[VersionStatus] | None) -> _Pin:
    """statuses: of all versions on disk, None if unknown. A pin may outlive its version's directory."""
    pinned, live = services().reloads.pinned, services().live.peek()
    if pinned is None:
        return _Pin()
    missing = statuses is not None and all(status.version.name != pinned for status in statuses)
    shown = services().reloads.shown(pinned)
    if not missing:
        return _Pin(shown, missing)
    now = f"{live.name} is live" if live else "no model is live"
    note = (
        f"{pinned} is pinned, but its directory is gone: {now}, and newer drops wait until unpin, or until it is back"
    )
    return _Pin(shown, missing, note)


def _statuses_for(pinned: str | None) -> Sequence[VersionStatus] | None:
    """Every version, if a pin makes reading the disk worthwhile; None if it cannot be read."""
    try:
        return services().reloads.statuses() if pinned else ()
    except StorageError:
        return None


def _losses_of(live: Servable) -> tuple[str, ...]:
    """Warnings from when the version replaced the previous one; after a restart there is nothing to compare with."""
    for record in services().reloads.recent(MOST_RELOADS):
        is_its_own = record.version == live.name and record.outcome == ReloadOutcome.LOADED
        if is_its_own and record.trigger != ReloadTrigger.STARTUP:
            return record.warnings
    return ()


def _describe_version(status: VersionStatus) -> api.Model:
    version = status.version
    return api.Model(
        path=services().reloads.shown(version.name),
        name=version.name,
        timestamp=version.timestamp,
        is_current=status.state == VersionState.LIVE,
        state=status.state,
        size_mb=round(version.size_bytes / _MEGABYTE, 1),
        modified=_write_plainly(version.modified),
        sha256=status.sha256,
        training=_describe_training(status.training),
        accuracy=describe_version(version.name, status.sha256),
        reason=status.reason,
        generation=status.generation,
    )


def _describe_training(info: TrainingInfo | None) -> api.Training:
    if info is None:
        return api.Training()
    return api.Training(
        epochs=info.epochs,
        training_time=info.training_time,
        servers_trained=info.servers_trained,
        validation=info.validation,
        comparison=_describe_comparison(info.comparison),
    )


def _describe_comparison(comparison: Comparison | None) -> api.Comparison | None:
    if comparison is None:
        return None
    return api.Comparison(
        windows=comparison.windows,
        beside_last_value=comparison.beside_last_value,
        passed=comparison.passed,
        newest=comparison.newest,
        beside_newest=comparison.beside_newest,
        newest_skipped=comparison.newest_skipped,
        targets={
            target: api.TargetErrors(errors.model, errors.last_value, errors.newest)
            for target, errors in comparison.targets.items()
        },
    )


def _write_plainly(moment: float) -> str:
    """Without a zone, as the contract requires for this one field; UTC like all times."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _describe_config(live: Servable) -> api.ModelConfig:
    spec = live.spec
    return api.ModelConfig(
        max_prediction_length=spec.max_prediction_length,
        max_encoder_length=spec.max_encoder_length,
        interval_seconds=spec.interval_seconds,
        quantiles=spec.quantiles,
        metrics=spec.metrics,
        targets=spec.targets,
    )


def _count_servers(live: Servable) -> api.ModelServers:
    window = services().ingest.window
    return api.ModelServers(
        total=window.servers_tracked,
        known=sum(map(window.tracks, live.known_servers)),
        trained=len(live.known_servers),
    )
