"""Decides which version ought to be live. Pure: no threads, no files, tested as a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nordiq_watch.artifact.layout import age_key
from nordiq_watch.records.models import Version


@dataclass(frozen=True, slots=True)
class Situation:
    """The inputs of the decision.

    live: the live version; live_fingerprint: its directory as it was loaded. resume: the version that was live when the
    daemon stopped. quarantined: versions that were rolled back; nothing older than them is a newer drop.
    """

    live: str | None = None
    live_fingerprint: str | None = None
    pinned: str | None = None
    resume: str | None = None
    quarantined: Collection[str] = ()


def next_to_load(loadable: Sequence[Version], situation: Situation) -> Version | None:
    """The version to load now. `loadable`: complete and not refused, newest first.

    The first row that fits decides:

    | pinned      | live    | and                                                          | version to load       |
    | ----------- | ------- | ------------------------------------------------------------ | --------------------- |
    | another     | any     | the pinned one is loadable                                   | the pinned one        |
    | none        | any     | some are newer than live or resume, and than all rolled back | the newest of them    |
    | any         | none    | likewise                                                     | the newest of them    |
    | any         | one     | its directory was replaced: another fingerprint than loaded  | the live one, anew    |
    | any         | one     |                                                              | None                  |
    | any         | none    | the version to resume is loadable                            | the version to resume |
    | any         | none    |                                                              | the newest, or None   |
    """
    by_name = {version.name: version for version in loadable}
    if situation.pinned in by_name and situation.pinned != situation.live:
        return by_name[situation.pinned]
    newer = [version for version in loadable if age_key(version.name) > _floor(situation, version.name)]
    if newer and (situation.pinned is None or situation.live is None):
        return newer[0]
    if situation.live is not None:
        on_disk = by_name.get(situation.live)
        return on_disk if on_disk and on_disk.fingerprint != situation.live_fingerprint else None
    return by_name.get(situation.resume or "") or next(iter(loadable), None)


def newer_than_live(loadable: Sequence[Version], live: str | None) -> Version | None:
    """The newest loadable version above the live one, which a pin keeps from going live."""
    newest = next(iter(loadable), None)
    if newest is None or (live is not None and age_key(newest.name) <= age_key(live)):
        return None
    return newest


def _floor(situation: Situation, name: str) -> tuple[str, str]:
    """The bound for a newer drop: the live (or last live) version and all that were rolled back.

    A version that was rolled back and is loadable again has other content: it does not stand in its own way.
    """
    base = situation.live or situation.resume
    names = [*(other for other in situation.quarantined if other != name), *([base] if base else [])]
    return max(map(age_key, names), default=("", ""))
