"""The wall-clock time of a whole training, from loading to the written model, and the part that each phase may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

DEFAULT_SECONDS = 15 * 60.0

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a training: epochs over the data or seconds, whichever is reached first; None does not limit."""

    epochs: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        """`15 min`, `20 epochs`, `15 min or 20 epochs`."""
        time = [] if self.seconds is None else [f"{self.seconds / 60:.4g} min"]
        epochs = [] if self.epochs is None else [f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"]
        return " or ".join(time + epochs)


def choose_limits(epochs: int | None, *seconds: float | None) -> Limits:
    """The epochs and the shortest of the times that are given; DEFAULT_SECONDS if nothing is."""
    given = [time for time in seconds if time is not None]
    default = DEFAULT_SECONDS if epochs is None else None
    return Limits(epochs, min(given, default=default))


class Budget:
    """Seconds that a training may take; None for any number.

    spent_before: seconds that an interrupted training spent before this process continued it; they count. started: the
    clock's reading at the begin of the process's work, by default now.
    """

    def __init__(
        self, total_seconds: float | None, clock: Clock, *, started: float | None = None, spent_before: float = 0.0
    ) -> None:
        self.total = inf if total_seconds is None else total_seconds
        self.reserve = 0.0
        self._clock = clock
        self._started = clock() - spent_before if started is None else started - spent_before

    @property
    def spent(self) -> float:
        """Seconds since the training began, without those between an interruption and its continuation."""
        return self._clock() - self._started

    @property
    def left(self) -> float:
        """Seconds until the end, never below 0; infinite without a limit."""
        return max(0.0, self.total - self.spent)

    def set_aside(self, seconds: float) -> None:
        """Keeps the last `seconds` for what follows the current phase; replaces what was set aside before."""
        self.reserve = seconds

    def phase(self, share: float = 1.0, *, begin: float | None = None) -> Phase:
        """The next phase: this share of the time that is left and not set aside.

        begin: `spent` at the phase's begin, by default now; that of the interrupted training to continue its phase.
        """
        return Phase(self, share, self.spent if begin is None else begin)


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase's part of a budget. It ends earlier or later if what is set aside changes meanwhile."""

    budget: Budget
    share: float
    begin: float

    @property
    def elapsed(self) -> float:
        """Seconds since the phase began."""
        return self.budget.spent - self.begin

    @property
    def seconds(self) -> float:
        """How long the phase may take in all; infinite without a limit."""
        return max(0.0, self.share * (self.budget.total - self.budget.reserve - self.begin))

    @property
    def is_limited(self) -> bool:
        """Whether the phase ends by time."""
        return self.budget.total < inf

    @property
    def progress(self) -> float:
        """The share of the phase's time that is over, from 0 to 1; always 0 without a limit."""
        if not self.is_limited:
            return 0.0
        return min(1.0, self.elapsed / self.seconds) if self.seconds else 1.0
