"""The parts of the daemon that can fail independently: every worker and every store, with its state.

/status lists the parts, /metrics has a gauge for each, the log reports once that a part fails and once that it works
again. `EFFECTS` names them all: a part missing from that table cannot be registered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from nordiq_watch.api.enums import PartState

log = logging.getLogger(__name__)

_SAY_AGAIN_SECONDS, _NEW_REASONS = 60.0, 10
"""A failing part is logged again for this many new reasons; a recurring reason at most this often."""

_SAY_DROPS_SECONDS = 600.0


class PartKind(StrEnum):
    STORE = "store"
    WORKER = "worker"


EFFECTS: Mapping[PartKind, Mapping[str, str]] = {
    PartKind.STORE: {
        "journal": "no batch is accepted (503); forecasts go on with the samples that the window has",
        "archive": "the journal grows, and training misses the newest samples; nothing accepted is lost",
        "history": "alerts and the state of the fleet are not recorded, and /historical answers 503",
        "accuracy": "the accuracy of forecasts is not kept; /admin/accuracy shows what was known before",
        "decision-file": "pins, rollbacks and refusals of models would be forgotten by a restart",
        "roster": "no order about maintenance is taken (503); what was ordered before holds until the daemon ends",
        "reload-history": "reloads are kept in memory only: /admin/reloads would begin empty after a restart",
        "audit": "the audit's lines are in the log instead of audit.jsonl",
        "log": "the log goes to stderr only, and the console shows no new lines",
        "lock": "a second daemon on the same state directory would not be refused",
    },
    PartKind.WORKER: {
        "ingest": "no batch is accepted (503); forecasts go on with the samples that the window has",
        "forecaster": "no new forecast is made; the last answer stays",
        "baseline": "the built-in forecast learns nothing new, and its accuracy is not followed beside a live model",
        "reload": "no version goes live and no rollback is done; the live model goes on answering",
        "watcher": "new versions are not noticed by themselves; a reload by request works",
        "quality": "the accuracy of forecasts is kept later, or not at all if it lasts",
        "history-writer": "alerts and the state of the fleet are recorded later, or not at all if it lasts",
        "housekeeper": "a log, an audit or a lock that failed stays so; collectors' slots end with requests alone",
        "watchdog": "systemd is not told that the daemon is well, and may restart it",
        "webhook": "alerts are not sent; /alerts/active has them",
    },
}
"""Part → what its failure costs the user, while everything else goes on."""


@dataclass(frozen=True, slots=True)
class PartStatus:
    """A part at one moment. reason: None while it is ok. since: start of this state, in Unix time."""

    name: str
    kind: PartKind
    state: PartState
    reason: str | None
    since: float
    effect: str

    @property
    def works(self) -> bool:
        return self.state is PartState.OK


class Part:
    """One part's state, reported by the code that notices failure or success. Thread-safe.

    dropped: number of events it could not keep.
    """

    def __init__(
        self,
        first: PartStatus,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        hidden: Sequence[Path] = (),
    ) -> None:
        self._status = first
        self._clock = clock
        self._timer = timer
        self._hidden = hidden
        self._lock = threading.Lock()
        self._changed_at = timer()
        self._said_at = timer()
        self._reasons: set[str] = set()
        self._dropping_said_at: float | None = None
        self.dropped = 0

    @property
    def name(self) -> str:
        return self._status.name

    @property
    def status(self) -> PartStatus:
        return self._status

    @property
    def works(self) -> bool:
        return self._status.works

    def describe(self, reason: str | Exception) -> str:
        """One line for clients: that it does not work, why, and the consequence."""
        return f"The {self.name} does not work: {self._without_directories(str(reason))} ({self._status.effect})"

    def fail(self, reason: str | Exception, *, state: PartState = PartState.FAILING) -> None:
        """Marks it as failing. Logged once, and again for another reason; /status shows no directories."""
        text = str(reason)
        with self._lock:
            news = self._enter(state, self._without_directories(text))
            now = self._timer()
            is_new = text not in self._reasons and len(self._reasons) < _NEW_REASONS
            said = news and (is_new or now - self._said_at >= _SAY_AGAIN_SECONDS)
            if said:
                self._said_at = now
                self._reasons.add(text)
        if said:
            log.error("the %s does not work: %s (%s)", self.name, text, self._status.effect)

    def recover(self) -> None:
        """Marks it as working. Logged if it was not."""
        if self._status.works:
            return  # without the lock: this is called after every success
        with self._lock:
            seconds = self._timer() - self._changed_at
            news = self._enter(PartState.OK, None)
            self._reasons.clear()
        if news:
            log.info("the %s works again, after %.0f s", self.name, seconds)

    def drop(self, count: int = 1, *, said: bool = False) -> None:
        """Counts events lost because this part is too slow or does not work; logged now and then.

        said: the loss is already logged elsewhere.
        """
        now = self._timer()
        with self._lock:
            self.dropped += count
            said_at = self._dropping_said_at
            due = not said and (said_at is None or now - said_at >= _SAY_DROPS_SECONDS)
            self._dropping_said_at = now if due else said_at
        if due:
            log.error("the %s is too slow or does not work: what waits longest for it is dropped", self.name)

    def _enter(self, state: PartState, reason: str | None) -> bool:
        """Enters the state; returns whether it is new."""
        known = self._status
        if (known.state, known.reason) == (state, reason):
            return False
        if known.works != (state is PartState.OK):
            self._changed_at = self._timer()
        since = known.since if known.state is state else self._clock()
        self._status = replace(known, state=state, reason=reason, since=since)
        return True

    def _without_directories(self, text: str) -> str:
        """/status may be public, and its readers need not know where things are on this machine."""
        for directory in self._hidden:
            text = text.replace(f"{directory}/", "").replace(str(directory), directory.name)
        return text


class Parts:
    """The registry: a part joins it with its first `of`. hidden: directories that no reason shows. clock: Unix time."""

    def __init__(
        self,
        *,
        hidden: Sequence[Path] = (),
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hidden = tuple(path.absolute() for path in hidden)
        self._clock = clock
        self._timer = timer
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}

    def of(self, name: str) -> Part:
        """The part of this name in EFFECTS, always the same object; it works until it says otherwise."""
        kind = next(kind for kind, effects in EFFECTS.items() if name in effects)
        with self._lock:
            if name not in self._parts:
                first = PartStatus(name, kind, PartState.OK, None, self._clock(), EFFECTS[kind][name])
                self._parts[name] = Part(first, clock=self._clock, timer=self._timer, hidden=self._hidden)
            return self._parts[name]

    def report(self) -> tuple[PartStatus, ...]:
        """All that were registered, in the order of EFFECTS."""
        with self._lock:
            known = {name: part.status for name, part in self._parts.items()}
        return tuple(known[name] for effects in EFFECTS.values() for name in effects if name in known)

    def find(self, name: str) -> PartStatus | None:
        """The state of one part; None if it is not registered."""
        with self._lock:
            part = self._parts.get(name)
        return None if part is None else part.status

    def dropped(self) -> Mapping[str, int]:
        """Part → events that it could not keep since the start."""
        with self._lock:
            return {name: part.dropped for name, part in self._parts.items()}

    def failing(self, kind: PartKind) -> tuple[PartStatus, ...]:
        """Those of a kind that do not work."""
        return tuple(status for status in self.report() if status.kind is kind and not status.works)
