"""Which server a collector's series belongs to, and which labels tell its series apart.

docs/collectors.md has the rules. A series whose labels name no server is left out, counted and said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TypeAlias

from nordiq_watch.config.schema import FeederSettings
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.relabel import Relabelling
from nordiq_watch.ingest.formats.targets import Target, read_target
from nordiq_watch.log_throttle import CountToTell
from nordiq_watch.names import tidy_name

log = logging.getLogger(__name__)

_DIGEST_BYTES = 16
_SAY_AGAIN_SECONDS = 3600.0
_SHOWN = 60
_REMEMBERED = 1 << 10

Key: TypeAlias = bytes
"""Identifies a series of one server: a digest, 64 bytes of memory where the labels would take a thousand."""


class Cause(StrEnum):
    """Why a series has no server."""

    NAMELESS = "nameless"
    LOOPBACK = "loopback"
    RELABEL = "relabel"


@dataclass(frozen=True, slots=True)
class Identity:
    """Two series with the same identity are one series, whichever collector sent them."""

    server: str
    key: Key


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Series that were left out for one cause. reason: in words, with an example and the setting that helps."""

    cause: Cause
    count: int
    reason: str


class ServerNames:
    """The naming rules of one kind of collector. For one thread at a time.

    section: its settings, as messages name them; setting: the one of them that says what names a server. otherwise:
    labels that name the server of a series without `server_label`. clusters: of all collectors together. left_out: how
    many series by cause, since the start. kept_labels: labels of series that are their server's, too. ignored_labels:
    those that tell no two series of a server apart. ConfigError for a
    rule in `feeders.relabel` that cannot be read.
    """

    def __init__(
        self,
        *,
        section: str,
        server_label: str,
        setting: str = "server_label",
        otherwise: Sequence[str] = (),
        feeders: FeederSettings | None = None,
        clusters: Clusters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        feeders = feeders or FeederSettings()
        self._setting = f"{section}.{setting}"
        self._server_label = server_label
        self._otherwise = otherwise
        self._cluster_label = feeders.cluster_label
        self._clusters = clusters or Clusters(None)
        self.ignored_labels = {*feeders.replica_labels, server_label, feeders.cluster_label}
        self._relabelling = Relabelling(feeders.relabel)
        self._relabelling_rules = feeders.relabel
        self._targets: dict[str, Target] = {}
        self._notes = _Notes(section, clock)
        self.left_out = dict.fromkeys(Cause, 0)
        self.kept_labels = feeders.labels

    def identify(self, labels: Mapping[str, str]) -> Identity | None:
        """Which series of which server this is; None for one that is left out, see `take_left_out`."""
        relabelled = self._relabelling.apply(labels)
        if relabelled is None:
            self._leave_out(Cause.RELABEL, labels.get(self._server_label, ""))
            return None
        label = self._label_of(relabelled.labels)
        target = self._read(label)
        if relabelled.server is None:
            name, cause = target.host, Cause.LOOPBACK if target.is_own_loopback else None
        else:
            name = tidy_name(relabelled.server)
            cause = Cause.LOOPBACK if self._read(name).is_own_loopback else None
        if cause is None and not name:
            cause = Cause.LOOPBACK if target.port else Cause.NAMELESS
        if cause is not None:
            self._leave_out(cause, relabelled.server or label)
            return None
        cluster = relabelled.labels.get(self._cluster_label, "") if self._cluster_label else ""
        named = self._clusters.name_of(name, tidy_name(cluster)) if cluster else name
        return Identity(named, self._key_of(relabelled.labels, target))

    def describe(self) -> str:
        """The same for two that name all series alike."""
        ignored = sorted(map(str, self.ignored_labels))
        return repr((self._server_label, self._otherwise, ignored, self._relabelling_rules))

    def _label_of(self, labels: Mapping[str, str]) -> str:
        label = labels.get(self._server_label, "")
        return label or next((labels[name] for name in self._otherwise if labels.get(name)), "")

    def part_of(self, labels: Mapping[str, str]) -> tuple[tuple[str, ...], Key]:
        """What some labels say beside the server and the sender: their names, and a digest of their values."""
        names = tuple(sorted(labels.keys() - self.ignored_labels))
        return names, _digest("\xff".join(labels[name] for name in names))

    def take_left_out(self) -> tuple[LeftOut, ...]:
        """What was left out since the call before; says it in the log, for each cause once an hour."""
        return self._notes.take(self._explain)

    def _key_of(self, labels: Mapping[str, str], target: Target) -> Key:
        """The same for replicas of one collector, for its jobs, and for all spellings of one target."""
        parts = [f"{name}\xfe{labels[name]}" for name in sorted(labels) if name not in self.ignored_labels]
        text = "\xff".join([*parts, target.host, target.port])
        return _digest(text)

    def _read(self, label: str) -> Target:
        """As `read_target`; labels recur with every series."""
        target = self._targets.get(label)
        if target is None:
            if len(self._targets) >= _REMEMBERED:
                self._targets.clear()
            target = self._targets[label] = read_target(label)
        return target

    def _leave_out(self, cause: Cause, label: str) -> None:
        self.left_out[cause] += 1
        self._notes.add(cause, label)

    def _explain(self, cause: Cause, example: str) -> str:
        if cause is Cause.NAMELESS:
            return (
                f"without the label {self._server_label}, which would name their server; set {self._setting}, or name "
                "the server in feeders.relabel"
            )
        if cause is Cause.LOOPBACK:
            return (
                f"whose server is called {example!r}: that is the sender's own loopback, or no host at all. Let "
                f"the sender tell its hosts apart (relabel_configs or external_labels in Prometheus, hostname in "
                f"Telegraf, Hostname in collectd), or set {self._setting} or feeders.relabel"
            )
        return f"as of {example!r}, which feeders.relabel drops"


def _digest(text: str) -> Key:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()


class _Notes:
    """What was left out: of one request, and since the log said so last."""

    def __init__(self, section: str, clock: Callable[[], float]) -> None:
        self._section = section
        self._request: dict[Cause, tuple[int, str]] = {}
        self._counts = {cause: CountToTell(_SAY_AGAIN_SECONDS, clock=clock) for cause in Cause}

    def add(self, cause: Cause, example: str) -> None:
        count, first = self._request.get(cause, (0, example[:_SHOWN]))
        self._request[cause] = count + 1, first

    def take(self, explain: Callable[[Cause, str], str]) -> tuple[LeftOut, ...]:
        if not self._request:
            return ()
        taken = tuple(LeftOut(cause, count, explain(cause, first)) for cause, (count, first) in self._request.items())
        self._request.clear()
        self._say(taken)
        return taken

    def _say(self, taken: Sequence[LeftOut]) -> None:
        for one in taken:
            count = self._counts[one.cause].add(one.count)
            if count is not None:
                level = logging.INFO if one.cause is Cause.RELABEL else logging.WARNING
                log.log(level, "%s: %d series are left out, %s", self._section, count, one.reason)
