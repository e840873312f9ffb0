"""The forecaster: one thread that turns the newest window and the live model into the answer that is served.

New samples wake it. Those that arrive while it works or rests are taken together: the next computation takes what is
newest then. After a computation that took d seconds it rests for d seconds, so that feeding can never cost more than
half of a core.

A model that goes live brings its first answer with it, made by `prepare` in the reload worker's thread without any
consequence. The consequences of that forecast (alerts, events) follow here, in the forecaster's thread: see
docs/decisions/0018.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf

from nordiq_watch.events import BaselineForecast, EventBus, FleetForecast, ForecastPublished
from nordiq_watch.forecast.answer import answer_with, figures_of
from nordiq_watch.forecast.maker import ForecastMaker
from nordiq_watch.forecast.shown_age import ShownAge
from nordiq_watch.forecast.verdicts import Evaluator
from nordiq_watch.ingest.freshness import Age, Freshness
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.fleet_answer import Annotations, age_answer, explain_no_model, mark_stale
from nordiq_watch.live.published import Live, Serving, lighten
from nordiq_watch.live.servable import Servable
from nordiq_watch.live.sources import BASELINE, made_by_each, made_by_model
from nordiq_watch.parts import Part
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, Worker

log = logging.getLogger(__name__)


class Forecaster(Worker):
    """Keeps the answer up to date: the live model's, or without one the built-in baseline's. `evaluator` adds its
    verdicts to every answer.

    maker: makes the forecasts. freshness: how old the data are; without it they never are. render_ahead:
    the largest fleet whose answer is written as JSON when it is made. `clock` is Unix time, for what is shown;
    `timer` measures durations. overruns: forecasts that took longer than one slot of the window's grid.
    """

    def __init__(
        self,
        live: Live,
        window: Window,
        events: EventBus,
        *,
        maker: ForecastMaker | None = None,
        evaluator: Evaluator | None = None,
        freshness: Freshness | None = None,
        render_ahead: int = 0,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | str = "forecaster",
    ) -> None:
        super().__init__(part, longest_pause_seconds=LONGEST_PAUSE_OF_REQUIRED)
        self._live = live
        self._interval_seconds = window.interval_seconds
        self._maker = maker or ForecastMaker(window)
        self._events = events
        self._evaluator = evaluator
        self._age = ShownAge(freshness, interval_seconds=window.interval_seconds, timer=timer)
        self._answer_with_window = partial(answer_with, window=window, render_ahead=render_ahead)
        self._clock = clock
        self._timer = timer
        self._asked = False
        self._rest_until = -inf
        self._concluded: Forecasting | None = None
        self._announced: tuple[float, float] | None = None
        self.failures = 0
        self.overruns = 0

    def wake(self) -> None:
        """There are new samples. From any thread; costs nothing."""
        self._asked = True
        super().wake()

    def latest(self) -> Forecasting | None:
        """The newest forecast that is served, with what it was made from. From any thread."""
        return self._live.serving().made

    @property
    def last_prediction(self) -> float | None:
        """When the newest forecast is from, in Unix time: its data, not its computation. None before the first one."""
        figures = figures_of(self._live.serving()) or self._announced
        return figures and figures[0]

    @property
    def last_seconds(self) -> float | None:
        """How long the newest forecast took."""
        figures = figures_of(self._live.serving()) or self._announced
        return figures and figures[1]

    def round(self) -> float | None:
        return self.step()

    def step(self) -> float | None:
        """Computes an answer if there are new samples and no rest in the way, and shows how old the data are.

        Returns for how many seconds nothing will be due; None: until it is woken.
        """
        self._conclude_swap()
        rests = (self._compute(), self._show_age())
        return min((rest for rest in rests if rest is not None), default=None)

    # --- a model that goes live: from the reload worker ---

    def prepare(self, candidate: Servable, tried: Forecasting | None = None) -> Serving:
        """The candidate with its answer for the whole fleet, as it will be served. Nothing comes of it before a swap.

        tried: a forecast that the candidate has made already. Any exception of the forward pass; MemoryError.
        """
        started, at = self._timer(), self._clock()
        with self._maker.one_at_a_time():
            if tried is not None and self._is_up_to_date(tried):
                made = self._maker.complete(candidate, tried)
            else:
                made = self._maker.make_by(candidate)
            verdicts = None
            if self._evaluator is not None and made.forecast.servers:
                verdicts = self._evaluator.preview(made)
            return self._serve(candidate, made, verdicts, self._age.now(), at=at, started=started)

    def note_swap(self) -> None:
        """What `prepare` returned is live now; samples that came after its forecast are forecast next."""
        self._asked = False  # before the look at the window: samples that come from here on ask by themselves
        if not self._maker.is_newest(self.latest()):
            self._asked = True
        super().wake()

    def _is_up_to_date(self, tried: Forecasting) -> bool:
        """Whether it is of the whole fleet, and what is served now is not newer."""
        served = self.latest()
        is_served = served is not None and served.snapshot is tried.snapshot
        return tried.whole and (is_served or self._maker.is_newest(tried))

    def _conclude_swap(self) -> None:
        """Alerts and events of the forecast that a model went live with; its answer gets the alerts as they became."""
        serving = self._live.serving()
        if serving.made is None or serving.made is self._concluded:
            return
        self._concluded = serving.made
        verdicts, age = self._evaluate(serving.made), self._age.note(self._age.now())
        if verdicts is not None and (verdicts.fleet != serving.answer.fleet or age.stale != serving.answer.stale):
            answer = age_answer(serving.answer, self._age.describe(age), verdicts=verdicts)
            self._live.publish(replace(serving, answer=answer))
        self.part.recover()
        self._announce(serving)
        current = self._live.serving()
        if current.made is serving.made:
            self._hold(current)

    # --- new samples ---

    def _compute(self) -> float | None:
        if not self._asked:
            return None
        rest = self._rest_until - self._timer()
        if rest > 0:
            return rest
        self._asked = False  # before the window is read: samples that come from here on ask for another computation
        self._answer_with(self._live.peek())
        return None

    def _answer_with(self, model: Servable | None) -> None:
        started, at = self._timer(), self._clock()
        try:
            with self._maker.one_at_a_time():
                made = self._maker.make(model)
                if not self._is_live(model):
                    self._asked = True  # of its successor
                    return
                if made is None:
                    self._say_no_model()
                    return
                verdicts, age = self._evaluate(made), self._age.note(self._age.now())
                serving = self._serve(model, made, verdicts, age, at=at, started=started)
        except Exception as error:
            log.exception("the forecast by %s failed; the last answer stays, marked stale", _name(model))
            self._fail(model, error)
            return
        finally:
            finished = self._timer()
            self._rest_until = finished + (finished - started)
        if not self._hold(serving):
            self._asked = True
            return
        self.part.recover()
        self._announce(serving)

    def _fail(self, model: Servable | None, error: Exception) -> None:
        self.part.fail(f"the forecast by {_name(model)} failed: {type(error).__name__}, the log has the rest")
        self.failures += 1
        serving = self._live.serving()
        if self._is_live(model):
            self._live.publish(replace(serving, answer=mark_stale(serving.answer)))

    def _say_no_model(self) -> None:
        """Without a model, nothing is said of an empty window, or by a baseline that is turned off."""
        if self._live.serving().answer.error is None:
            self._live.publish(Serving(model=None, answer=explain_no_model()))

    # --- both ---

    def _hold(self, concluded: Serving) -> bool:
        """Publishes what is served until the next answer; False if another model is live by now."""
        lighter = lighten(concluded)
        self._concluded = lighter.made
        return self._live.publish(lighter)

    def _is_live(self, model: Servable | None) -> bool:
        """None: whether there is no live model."""
        live = self._live.peek()
        return live is model or (live is not None and model is not None and live.identity == model.identity)

    def _evaluate(self, made: Forecasting) -> Annotations | None:
        """With all consequences. None without an evaluator, and for a fleet of which nothing is forecast."""
        if self._evaluator is not None and made.forecast.servers:
            return self._evaluator(made)
        if self._evaluator is not None:
            self._evaluator.watch()
        return None

    def _serve(
        self,
        model: Servable | None,
        made: Forecasting,
        verdicts: Annotations | None,
        age: Age,
        *,
        at: float,
        started: float,
    ) -> Serving:
        answer = self._answer_with_window(model, made, at=at, verdicts=verdicts, age=self._age.describe(age))
        return Serving(model=model, answer=answer, made=made, at=at, seconds=self._timer() - started)

    def _announce(self, serving: Serving) -> None:
        made, model = serving.made, serving.model
        if made is None or not made.forecast.servers:
            return
        seconds, count = serving.seconds, len(made.forecast.servers)
        self._announced = figures_of(serving)
        if seconds > self._interval_seconds:
            self.overruns += 1
            log.warning(
                "a forecast of %d servers took %.1f s, longer than window.interval_seconds (%d): the next one takes "
                "the newest data, slots between get none",
                count, seconds, self._interval_seconds,
            )  # fmt: skip
        generation = 0 if model is None else model.identity.generation
        self._events.publish(ForecastPublished(_name(model), generation, servers=count, seconds=seconds))
        if model is None:
            for part in made_by_each(made):
                self._events.publish(BaselineForecast(part))
        elif (own := made_by_model(made)).forecast.servers:
            self._events.publish(FleetForecast(own))

    # --- the age of the data ---

    def _show_age(self) -> float | None:
        """Publishes the answer anew when only the clock changed what it says; returns when to look again."""
        age = self._age.change()
        if age is not None:
            was_old = self._age.shown.old
            self._age.note(age)
            if was_old and not age.old:
                self._asked = True  # the clock was put right: there is something to say of these data again
                return 0.0
            self._publish_age(age)
        return self._age.seconds_to_change()

    def _publish_age(self, age: Age) -> None:
        serving, verdicts = self._live.serving(), None
        if self._evaluator is not None:
            self._evaluator.watch()
            if age.old:
                verdicts = self._evaluator.say_nothing(serving.answer.count)
        self._live.publish(replace(serving, answer=age_answer(serving.answer, age.describe(), verdicts=verdicts)))


def _name(model: Servable | None) -> str:
    return BASELINE if model is None else model.name
