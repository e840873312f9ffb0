"""The forecaster: one thread that turns the newest window and the live model into the published answer.

Whoever has news wakes it: a batch that went into the window, or a model that went live. News that arrive while it works
or rests are one: the next computation takes what is newest then. After a computation that took d seconds it rests for d
seconds, so that feeding can never cost more than half of a core; a swap does not wait for that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Protocol

from nordiq_watch.events import EventBus, FleetForecast, ForecastPublished
from nordiq_watch.forecast.answer import (
    Answer,
    Entry,
    Verdicts,
    age_answer,
    build_answer,
    explain_cold_fleet,
    explain_no_model,
    mark_stale,
    prediction_time,
)
from nordiq_watch.forecast.board import AnswerBoard
from nordiq_watch.forecast.freshness import UNDATED, Age, Freshness
from nordiq_watch.forecast.warmup import requirement_of
from nordiq_watch.forecast.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.parts import Part
from nordiq_watch.records import Forecasting
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, ROUND_SECONDS, Worker

log = logging.getLogger(__name__)


class Judging(Protocol):
    """Adds verdicts to forecasts; called in the forecaster's thread only."""

    def __call__(self, made: Forecasting) -> Verdicts: ...

    def watch(self) -> None:
        """Looks at what needs no forecast."""

    def say_nothing(self, servers: int) -> Verdicts:
        """The verdicts while the data say nothing about now."""


class Forecaster(Worker):
    """Publishes to the board. `judge` adds its verdicts to every answer; it is called in the forecaster's thread.

    freshness: how old the data are; without it they never are. `clock` is Unix time, for what is shown; `timer`
    measures durations. overruns: forecasts that took longer than one slot of the window's grid. last_prediction: when
    the newest forecast is from, in Unix time: its data, not its computation.
    """

    def __init__(
        self,
        live: Live,
        window: Window,
        board: AnswerBoard,
        events: EventBus,
        *,
        judge: Judging | None = None,
        freshness: Freshness | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | str = "forecaster",
    ) -> None:
        super().__init__(part, longest_pause_seconds=LONGEST_PAUSE_OF_REQUIRED)
        self._live = live
        self._window = window
        self._board = board
        self._events = events
        self._judge = judge
        self._freshness = freshness
        self._shown = UNDATED
        self._shown_at = -inf
        self._clock = clock
        self._timer = timer
        self._asked = True
        self._rest_until = -inf
        self._tried = threading.Condition()
        self._tried_generation = 0
        self._answered_generation = 0
        self._latest: Forecasting | None = None
        self._offered: Forecasting | None = None
        self.last_prediction: float | None = None
        self.last_seconds: float | None = None
        self.failures = 0
        self.overruns = 0

    def wake(self) -> None:
        """There is something new: data or a model. From any thread; costs nothing."""
        self._asked = True
        super().wake()

    def latest(self) -> Forecasting | None:
        """The newest forecast that was published, with what it was made from. From any thread."""
        return self._latest

    def offer(self, first: Forecasting | None) -> None:
        """The forecast with which a model was tried, before it goes live: if it is of the whole fleet, it will be that
        model's first answer, and need not be computed again. From the reload worker.
        """
        with self._tried:
            self._offered = first if first is not None and first.whole else None

    def wait_for_generation(self, generation: int, timeout: float) -> bool:
        """Whether the model of this generation, or of a later one, gave its first answer within `timeout` seconds.

        False at once if it tried and failed. "Not enough data" is an answer.
        """
        with self._tried:
            self._tried.wait_for(lambda: self.stopping or self._tried_generation >= generation, timeout)
            return self._answered_generation >= generation

    def round(self) -> float | None:
        return self.step()

    def stop(self) -> None:
        """Ends `run()` after the computation that is running. From any thread."""
        super().stop()
        with self._tried:
            self._tried.notify_all()

    def step(self) -> float | None:
        """Computes an answer if there is news and no rest in the way, and shows how old the data are.

        Returns for how many seconds nothing will be due; None: until it is woken.
        """
        rests = (self._compute(), self._show_age())
        return min((rest for rest in rests if rest is not None), default=None)

    def _compute(self) -> float | None:
        model = self._live.peek()
        swapped = model is not None and model.identity.generation != self._tried_generation
        if not (swapped or self._asked):
            return None
        rest = self._rest_until - self._timer()
        if rest > 0 and not swapped:
            return rest
        with self._tried:
            offered, self._offered = self._offered, None
        if offered is not None and model is not None and offered.forecast.model == model.identity:
            self._publish(model, lambda: offered)
            return 0.0 if self._asked else None  # data that came after the trial is forecast next
        self._asked = False  # before the window is read: whoever wakes from here on asks for another one
        if model is None and self._board.peek() is explain_no_model():
            return None  # every batch asks, and feeding must not pay for the same answer again
        self._publish(model, lambda: self._forecast(model))
        return None

    def _show_age(self) -> float | None:
        """Publishes the answer anew when only the clock changed what it says; returns when to look again."""
        if self._freshness is None:
            return None
        age = self._freshness.now()
        shown, due = self._shown, self._timer() - self._shown_at >= max(ROUND_SECONDS, self._window.interval_seconds)
        if _standing(age) != _standing(shown) or (age.old and due):
            self._note_age(age)
            if shown.old and not age.old:
                self._asked = True  # the clock was put right: there is something to say of these data again
                return 0.0
            if self._judge is not None:
                self._judge.watch()
            answer = self._board.peek()
            silent = self._judge.say_nothing(len(answer.predictions)) if self._judge is not None and age.old else None
            self._board.publish(age_answer(answer, age.describe(), verdicts=silent))
        change = self._freshness.seconds_to_change()
        return change if change < inf else None

    def _note_age(self, age: Age) -> Age:
        self._shown, self._shown_at = age, self._timer()
        return age

    def _publish(self, model: Servable | None, forecast: Callable[[], Forecasting | None]) -> None:
        started, at = self._timer(), self._clock()
        try:
            made = forecast()
            answer = self._answer(model, made, at, age=self._note_age(self._age()).describe())
        except Exception as error:
            log.exception("the forecast by %s failed; the last answer stays, marked stale", model and model.name)
            self.part.fail(
                f"the forecast by {model and model.name} failed: {type(error).__name__}, the log has the rest"
            )
            self.failures += 1
            self._board.publish(mark_stale(self._board.peek()))
            self._settle(model, started=started, answered=False)
            return
        self._latest = made
        self._board.publish(answer)
        self.part.recover()
        seconds = self._settle(model, started=started, answered=True)
        if answer.predictions and made is not None:
            self._announce(answer, seconds, made=made, at=at)
            self._events.publish(FleetForecast(made))

    def _forecast(self, model: Servable | None) -> Forecasting | None:
        if model is None:
            return None
        snapshot = self._window.snapshot()
        return Forecasting(snapshot, model.forecast(snapshot))

    def _age(self) -> Age:
        return UNDATED if self._freshness is None else self._freshness.now()

    def _answer(self, model: Servable | None, made: Forecasting | None, at: float, *, age: Entry) -> Answer:
        if model is None or made is None:
            return explain_no_model()
        age = age if self._freshness is not None else {}
        requirement = requirement_of(model.spec, self._window)
        if not made.forecast.servers:
            if self._judge is not None:
                self._judge.watch()
            return explain_cold_fleet(made.snapshot, requirement, model=model.identity, age=age)
        return build_answer(
            made.forecast,
            made.snapshot,
            requirement,
            silent_seconds=self._window.silent_seconds,
            at=at,
            verdicts=None if self._judge is None else self._judge(made),
            age=age,
        )

    def _settle(self, model: Servable | None, *, started: float, answered: bool) -> float:
        """Begins the rest and lets go whoever waits for this generation; returns how long the computation took."""
        finished = self._timer()
        self._rest_until = finished + (finished - started)
        if model is not None:
            with self._tried:
                self._tried_generation = model.identity.generation
                if answered:
                    self._answered_generation = model.identity.generation
                self._tried.notify_all()
        return finished - started

    def _announce(self, answer: Answer, seconds: float, *, made: Forecasting, at: float) -> None:
        assert answer.model is not None  # predictions come from a model
        self.last_prediction = prediction_time(made.forecast.origin_slot, made.forecast.interval_seconds, at=at)
        self.last_seconds = seconds
        if seconds > self._window.interval_seconds:
            self.overruns += 1
            log.warning(
                "a forecast of %d servers took %.1f s, longer than window.interval_seconds (%d): the next one takes "
                "the newest data, slots between get none",
                len(answer.predictions),
                seconds,
                self._window.interval_seconds,
            )
        self._events.publish(
            ForecastPublished(
                version=answer.model.name,
                generation=answer.model.generation,
                servers=len(answer.predictions),
                seconds=seconds,
            )
        )


def _standing(age: Age) -> tuple[bool, bool, bool]:
    """What of the age changes the answer at once."""
    return age.stale, age.old, age.stopped
