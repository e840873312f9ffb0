"""`nordiq-watch doctor`: reports, in plain words, what this machine lacks for the daemon to run well."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command
from nordiq_watch.errors import ConfigError, ModelRejected, StorageError

if TYPE_CHECKING:
    from nordiq_watch.config.settings import Settings
    from nordiq_watch.host.checkup import Finding

_EXAMPLE = """\
examples:
  nordiq-watch doctor --config config.yaml
  sudo -u nordiq-watch nordiq-watch doctor --config /etc/nordiq-watch/config.yaml

Run it as the user who runs the daemon, before the first start or when something is odd. Beside a daemon that runs, its
port is in use, and that is no mistake.
Exit code 0: nothing bad (there may be warnings). 1: something would keep the daemon from working.
"""

_MARKS = {"good": "ok     ", "warning": "WARNING", "bad": "BAD    "}


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "doctor", "say what this machine lacks for the daemon to run well", _EXAMPLE)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings; else ./config.yaml, if there is one")


def run(args: argparse.Namespace) -> int:
    """0 unless a finding is bad. Raises ConfigError if the config itself is unusable."""
    from nordiq_watch.config.load import find_settings
    from nordiq_watch.host.checkup import examine

    settings = find_settings(args.config)
    findings = [
        *examine(settings),
        _check_device(settings),
        _check_newest(settings),
        *_check_pin(settings),
        *_check_names(settings),
        *_check_ahead(settings, now=time.time()),
    ]
    for finding in findings:
        print(f"{_MARKS[finding.state]} {finding.check:<14} {finding.words}")
    number = sum(finding.state == "bad" for finding in findings)
    print(f"{number} bad" if number else "nothing bad")
    return 1 if number else 0


def _check_device(settings: Settings) -> Finding:
    from nordiq_watch.host.checkup import Finding
    from nordiq_watch.network.predictor import resolve_device

    try:
        return Finding("device", "good", f"models run on {resolve_device(settings.config.device)}")
    except ConfigError as error:
        return Finding("device", "bad", str(error))


def _check_newest(settings: Settings) -> Finding:
    """Runs the checks of `verify` on the newest version, which a start would load."""
    from nordiq_watch.host.checkup import Finding
    from nordiq_watch.reload.catalogue import Catalogue
    from nordiq_watch.reload.named_version import version_at
    from nordiq_watch.reload.proof import prove_version

    try:
        newest = next(iter(Catalogue(settings.models_dir).scan()), None)
        if newest is None:
            return Finding(
                "newest model", "warning", f"there is none in {settings.models_dir}: no forecasts until one comes"
            )
        prove_version(version_at(newest.path), settings.config)
    except (StorageError, OSError) as error:
        return Finding("newest model", "warning", f"it cannot be looked at: {error}")
    except ModelRejected as error:
        return Finding("newest model", "warning", f"{error} An older one is loaded, if there is one.")
    return Finding("newest model", "good", f"{newest.name} can be loaded")


def _check_names(settings: Settings) -> Iterator[Finding]:
    """What lies among the versions and is none: a link, an archive, a name with colons."""
    from nordiq_watch.host.checkup import Finding
    from nordiq_watch.reload.catalogue import Catalogue

    try:
        _, ignored = Catalogue(settings.models_dir).look()
    except StorageError:
        return  # the check of the directory says so
    for entry in ignored:
        yield Finding("models", "warning", f"{entry.name} is ignored: {entry.reason}")


def _check_ahead(settings: Settings, *, now: float) -> Iterator[Finding]:
    """Versions whose names are ahead of the clock: whichever is live, drops with right names never replace it."""
    from nordiq_watch.host.checkup import Finding
    from nordiq_watch.reload.catalogue import Catalogue
    from nordiq_watch.reload.name_notes import TOLERATED_SECONDS, seconds_ahead

    try:
        versions = Catalogue(settings.models_dir).scan()
    except StorageError:
        return  # the check of the directory says so
    for version in versions:
        ahead = seconds_ahead(version, now=now)
        if ahead > TOLERATED_SECONDS:
            words = (
                f"{version.name} is named {ahead / 3600:,.1f} h ahead of this machine's clock: until then, later drops "
                "look older than it and do not go live by themselves. Rename it, and check the trainer's clock"
            )
            yield Finding("models", "warning", words)


def _check_pin(settings: Settings) -> Iterator[Finding]:
    """A start loads the pinned version or, without its directory, the newest one; newer drops then wait."""
    from nordiq_watch.host.checkup import Finding
    from nordiq_watch.reload.catalogue import Catalogue
    from nordiq_watch.storage.decisions import DecisionStore

    try:
        pinned = DecisionStore(settings.state_dir / "decisions.json").current.pinned
        there = pinned is None or Catalogue(settings.models_dir).find(pinned) is not None
    except StorageError as error:
        yield Finding("pin", "warning", str(error))
        return
    if pinned is not None and there:
        yield Finding("pin", "good", f"{pinned} is pinned: newer drops wait")
    elif pinned is not None:
        words = (
            f"{pinned} is pinned, but its directory is gone: a start loads the newest, and newer drops wait; run unpin"
        )
        yield Finding("pin", "warning", words)
