"""What is served now: a model and its answer, in one reference that all threads read.

A reader takes it once and keeps it in a local for the whole answer, so that a swap in between changes nothing for it.
Model, generation and answer change by one assignment, so that no two readers disagree. Assigning an attribute is atomic
in Python: readers need no lock. Two threads write, and a lock keeps them apart: the reload worker swaps in another
model with its answer, the forecaster publishes new answers of the model that is live.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nordiq_watch.live.bands import keep_served
from nordiq_watch.live.fleet_answer import Answer, explain_no_model
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.forecasts import Forecasting


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Serving:
    """One model, its answer, and the forecast that the answer was made from; the last is None before there is any.

    model: None while there is none and the built-in baseline answers.

    at: when it was made, in Unix time; seconds: how long that took.
    """

    model: Servable | None
    answer: Answer
    made: Forecasting | None = None
    at: float = 0.0
    seconds: float = 0.0


def lighten(serving: Serving) -> Serving:
    """The same without the numbers of its forecast that are not served: they are half of its memory."""
    if serving.made is None:
        return serving
    return replace(serving, made=replace(serving.made, forecast=keep_served(serving.made.forecast)))


class Live:
    """Holds what is served and, for a rollback, the previous model."""

    def __init__(self) -> None:
        self._serving = Serving(model=None, answer=explain_no_model())
        self._previous: Servable | None = None
        self._writing = threading.Lock()

    def serving(self) -> Serving:
        """The live model with its newest answer. Immutable: a request that holds it answers consistently."""
        return self._serving

    def peek(self) -> Servable | None:
        """The live model; None before the first one."""
        return self._serving.model

    def describe(self) -> str:
        """What is live, in words."""
        live = self.peek()
        return f"{live.name} is live, generation {live.identity.generation}" if live else "no model is live yet"

    def training_statistics(self) -> Mapping[str, Any]:
        """What the live model says of its training data; empty if its trainer did not write that, or none is live."""
        live = self.peek()
        statistics = live.spec.training_config.get("statistics") if live else None
        return statistics if isinstance(statistics, dict) else {}

    def previous(self) -> Servable | None:
        """The previously live model, if it is still in memory."""
        return self._previous

    def swap(self, candidate: Serving, *, keep_previous: bool) -> Servable | None:
        """Makes the candidate and its answer live and returns the replaced model. Cannot fail."""
        with self._writing:
            replaced = self._serving.model
            self._serving = candidate
            self._previous = replaced if keep_previous else None
            return replaced

    def publish(self, new: Serving) -> bool:
        """A new answer of the live model, or of none while none is live. False if another model is live by now: then
        nothing changes.
        """
        with self._writing:
            live = self._serving.model
            if (live and live.identity) != (new.model and new.model.identity):
                return False
            self._serving = replace(new, model=live)  # which may have moved to another device meanwhile
            return True

    def move(self, moved: Servable) -> None:
        """Replaces the live model by its copy on another device: same version, generation and answers."""
        with self._writing:
            self._serving = replace(self._serving, model=moved)

    def drop_previous(self) -> None:
        """Frees the previous model's memory; a rollback then reads it from disk again."""
        self._previous = None
