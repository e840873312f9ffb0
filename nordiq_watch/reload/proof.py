"""Proves a version beside every daemon, by the checks of a reload: for `verify`, `doctor` and `train`."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path

from nordiq_watch.artifact.signature import trust_in
from nordiq_watch.config.schema import CanarySettings, Config
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.models import Version
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.loader import Requirements, memory_errors
from nordiq_watch.reload.named_version import load_version, version_at
from nordiq_watch.reload.synthetic_window import synthetic_window

_FINITE_ONLY = CanarySettings(max_crossed_share=1.0, max_overshoot=inf)


def prove_version(version: Version, config: Config | None) -> Servable:
    """Checks completeness, hashes, manifest, names, shapes and numbers, and forecasts a synthetic fleet.

    config: of a daemon that would have to trust, feed and serve it. Raises ModelRejected with the check that failed.
    """
    check_trust = trust_in(config.models.trusted_keys) if config else None
    servable = load_version(version, requirements=_requirements(config), check_trust=check_trust, every_number=True)
    limits = config.reload.canary if config else CanarySettings()
    _try(servable, synthetic_window(servable.spec), limits, named=False)
    return servable


def prove_written(directory: Path, windows: Iterable[WindowSnapshot], *, config: Config, finite_only: bool) -> None:
    """Reads a directory that was just written, whatever its name, and lets it forecast these windows.

    Each forecast must be that of a version that an operator names: whole, finite, in order and possible; with
    finite_only, whole and finite. Signatures are not looked at: a version is signed later. Raises ModelRejected.
    """
    servable = load_version(version_at(directory), requirements=_requirements(config), every_number=True)
    limits = _FINITE_ONLY if finite_only else config.reload.canary
    for window in windows:
        _try(servable, window, limits, named=True)


def _requirements(config: Config | None) -> Requirements | None:
    if config is None:
        return None
    return Requirements(config.metrics, config.window.interval_seconds, config.window.length)


def _try(servable: Servable, window: WindowSnapshot, limits: CanarySettings, *, named: bool) -> None:
    with memory_errors(servable.name):
        canary = Canary(limits, snapshot=lambda: window, latest=lambda: None)
        canary.check(servable, against=None, named=named)
