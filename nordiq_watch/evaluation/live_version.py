"""The version that a daemon with these settings would have live after a start."""

from __future__ import annotations

from nordiq_watch.config.settings import Settings
from nordiq_watch.records.models import Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.policy import Situation, next_to_load
from nordiq_watch.storage.decisions import DecisionStore


def find_live(settings: Settings) -> Version | None:
    """The pinned version, else the newest complete one that was not refused; None if there is none.

    Only reads. Raises StorageError for a models directory or decisions that cannot be read.
    """
    decisions = DecisionStore(settings.state_dir / "decisions.json").current
    catalogue = Catalogue(settings.models_dir)
    loadable = [
        version
        for version in catalogue.scan()
        if version.name not in decisions.refusals and catalogue.judge(version).complete
    ]
    situation = Situation(pinned=decisions.pinned, resume=decisions.live, quarantined=decisions.quarantined)
    return next_to_load(loadable, situation)
