from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from itertools import count
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from support.gpu import DEVICES, needs_a_gpu
from support.small_fleet import TINY, fleet_of, series_of, wavy

from nordiq_watch.errors import ConfigError, NordiqError
from nordiq_watch.training.batches import TrainingBatches, ValidationBatches
from nordiq_watch.training.budget import Budget, Clock, Limits
from nordiq_watch.training.checkpoint import Checkpoint, CheckpointFile
from nordiq_watch.training.forecaster import Forecaster, build_forecaster
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.loop import Fit, Fitted
from nordiq_watch.training.schedule import WARM_UP_BATCHES, Plan
from nordiq_watch.training.state import State
from nordiq_watch.training.timeseries import Split, split_by_time
from nordiq_watch.training.validation import PATIENCE_ROUNDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def split() -> Split:
    data = fleet_of(series_of(wavy(80), server="a"), series_of(wavy(80, seed=1), server="b"))
    return split_by_time(data, config=TINY, per_server=True)


@pytest.fixture
def forecaster(split: Split) -> Forecaster:
    torch.manual_seed(0)
    return build_forecaster(split, TINY, embedding_lengths={})


class Training:
    """A fit on the small fleet; keyword arguments change its limits."""

    def __init__(self, forecaster: Forecaster, split: Split) -> None:
        self.forecaster = forecaster
        self.batches = TrainingBatches(split.training, batch_size=16, max_batches=3, seed=0)
        places = split.validation.source.spread(8)
        self.validation = ValidationBatches(split.validation, places, batch_size=8)

    def prepare(
        self,
        *,
        epochs: int | None = 1,
        seconds: float | None = None,
        learning_rate: float = 0.01,
        clock: Clock = lambda: 0.0,
        passes_after: float = 0.0,
    ) -> Fit:
        plan = Plan(batches_per_epoch=3, learning_rate=learning_rate, epochs=epochs)
        phase = Budget(seconds, clock).phase()
        return Fit(self.forecaster, self.batches, self.validation, plan=plan, phase=phase, passes_after=passes_after)

    def run(self, *watchers: Callback, device: str = "cpu", **limits: Any) -> Fitted:
        return self.prepare(**limits).run(device=device, watchers=watchers)

    def validation_loss(self) -> float:
        """In host memory."""
        self.forecaster.cpu().eval()
        with torch.no_grad():
            losses = [
                self.forecaster.loss(self.forecaster(x)["prediction"], y, encoder_target=x["encoder_target"])
                for x, y in self.validation
            ]
        return float(torch.stack(losses).mean())


@pytest.fixture
def training(forecaster: Forecaster, split: Split) -> Training:
    return Training(forecaster, split)


def test_the_optimizer_gets_the_plans_rate(training: Training) -> None:
    rates: list[float] = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    training.run(Look(), epochs=2)
    plan = Plan(epochs=2, batches_per_epoch=3, learning_rate=0.01)
    assert rates == [plan.learning_rate_at(batch, batch / 6) for batch in range(6)]


@pytest.mark.parametrize("device", DEVICES)
def test_training_learns(training: Training, device: str) -> None:
    before = training.validation_loss()
    fitted = training.run(device=device, epochs=5, learning_rate=0.02)
    assert (fitted.epochs, fitted.batches) == (5, 15)
    assert fitted.best_loss < before
    assert training.validation_loss() == pytest.approx(fitted.best_loss, rel=1e-4)


def test_the_unknown_class_of_each_label_is_learnt(training: Training) -> None:
    embeddings = dict(training.forecaster.input_embeddings.items())
    before = {name: embedding.weight[0].detach().clone() for name, embedding in embeddings.items()}
    training.run(epochs=4)
    assert before.keys() == {"server_name", "profile"}
    for name, embedding in embeddings.items():
        assert not torch.equal(embedding.weight[0].detach(), before[name]), name


class WorseEachTime:
    """Validation batches whose truth runs away from what is forecast; the weights at the begin are the best ones."""

    def __init__(self, batches: ValidationBatches) -> None:
        self._batches = batches
        self._rounds = count()

    def __iter__(self) -> Iterator[Batch]:
        number = next(self._rounds)
        for x, (y, weight) in self._batches:
            yield x, ([target + 1000.0 * number for target in y], weight)


def test_without_improvement_it_stops_and_the_best_weights_stay(training: Training) -> None:
    before = {name: tensor.clone() for name, tensor in training.forecaster.state_dict().items()}
    after_round: list[dict[str, torch.Tensor]] = []

    class Look(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            after_round.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    training.validation = WorseEachTime(training.validation)  # type: ignore[assignment]
    fitted = training.run(Look(), epochs=4 * PATIENCE_ROUNDS)
    assert fitted.epochs == PATIENCE_ROUNDS
    weights = training.forecaster.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())
    assert not all(torch.equal(weights[name], tensor) for name, tensor in after_round[-1].items())


def test_a_quarter_of_a_long_training_may_pass_without_improvement(training: Training) -> None:
    training.validation = WorseEachTime(training.validation)  # type: ignore[assignment]
    assert training.run(epochs=40).epochs == 10


class Tick(Callback):
    """A clock that moves by a second with each batch."""

    now = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self.now += 1.0


def test_when_time_is_over_it_stops_within_the_epoch_and_still_validates(training: Training) -> None:
    tick = Tick()
    fitted = training.run(tick, clock=lambda: tick.now, epochs=50, seconds=1.5)
    assert (fitted.epochs, fitted.batches) == (1, 2)
    assert fitted.best_loss == pytest.approx(training.validation_loss(), rel=1e-4)


def test_time_alone_can_limit_it(training: Training) -> None:
    tick = Tick()
    fitted = training.run(tick, clock=lambda: tick.now, epochs=None, seconds=10.0)
    assert (fitted.batches, fitted.epochs) == (10, 4)


def test_what_follows_the_batches_keeps_its_time(training: Training) -> None:
    class SlowValidation:
        def __iter__(self) -> Iterator[Batch]:
            tick.now += 1.0
            return iter(batches)

    tick, batches = Tick(), training.validation
    training.validation = SlowValidation()  # type: ignore[assignment]
    fit = training.prepare(clock=lambda: tick.now, epochs=None, seconds=60.0, passes_after=6.0)
    fit.run(device="cpu", watchers=[tick])
    assert 60.0 - 6.0 <= tick.now <= 60.0 - 6.0 + 3.0


class Shift(Callback):
    """Decides what the network forecasts after each batch: it is off by the next of `distances`."""

    def __init__(self, forecaster: Forecaster, distances: list[float]) -> None:
        self._biases = [layer.bias.detach().clone() for layer in forecaster.output_layer]
        self._distances = iter(distances)
        self._move(forecaster, next(self._distances))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._move(pl_module, next(self._distances))

    def _move(self, forecaster: Forecaster, distance: float) -> None:
        with torch.no_grad():
            for layer, bias in zip(forecaster.output_layer, self._biases, strict=True):
                layer.bias.copy_(bias + distance)


@pytest.mark.parametrize(
    ("distances", "averaged"), [([100.0, 30.0, -30.0, 30.0], True), ([100.0, 90.0, 60.0, 30.0], False)]
)
def test_the_average_is_kept_where_it_is_better_than_the_last_weights(
    training: Training, distances: list[float], averaged: bool
) -> None:
    shift = Shift(training.forecaster, distances)
    fitted = training.run(shift, learning_rate=1e-9)
    assert fitted.averaged is averaged
    assert fitted.best_loss == pytest.approx(training.validation_loss(), rel=1e-4)


class Poison(Callback):
    """Makes a weight infinite at the end of a batch, as a step that was far too long does."""

    def __init__(self, *, after_batches: int) -> None:
        self._left = after_batches

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        self._left -= 1
        if not self._left:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(float("inf"))


@pytest.mark.parametrize("after_batches", [1, 3])  # in the middle of the epoch, and just before its validation
def test_a_training_that_diverges_says_what_to_change(training: Training, after_batches: int) -> None:
    with pytest.raises(NordiqError, match=r"diverged.*Lower training\.learning_rate \(0\.005\)"):
        training.run(Poison(after_batches=after_batches))


def test_ctrl_c_is_a_keyboard_interrupt_and_the_next_one_works_too(training: Training) -> None:
    class Interrupt(Callback):
        def on_train_batch_end(self, *rest: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background begins with it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            training.run(Interrupt())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_nothing_is_written_or_said(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    training.run()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_gpu_that_is_not_there_is_refused(training: Training) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match="device is cuda:3"):
        training.prepare().run(device="cuda:3")


class StopAfter(Callback):
    """Ends the training after a batch, as the checkpoint's writer does after a signal, and writes a checkpoint."""

    def __init__(self, fit: Fit, batches: int, models_dir: Path) -> None:
        self._fit = fit
        self._batches = batches
        self._models_dir = models_dir

    @property
    def states(self) -> Mapping[str, State]:
        """As a later process finds them."""
        return CheckpointFile(self._models_dir).read().states

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or self._fit.schedule.batches == self._batches

    def on_train_end(self, *_: Any) -> None:
        CheckpointFile(self._models_dir).write(Checkpoint({}, Limits(), 0.0, self._fit.states()))


@pytest.mark.parametrize("batches", [1, 4, 6, 11])  # within an epoch, in another, at its end, before the last
def test_a_resumed_training_ends_as_if_it_had_not_been_interrupted(split: Split, tmp_path: Path, batches: int) -> None:
    def begin() -> Training:
        torch.manual_seed(0)
        return Training(build_forecaster(split, TINY, embedding_lengths={}), split)

    whole = begin()
    expected = whole.run(epochs=4)
    first = begin()
    fit = first.prepare(epochs=4)
    stop = StopAfter(fit, batches, tmp_path)
    assert fit.run(device="cpu", watchers=[stop]).batches == batches
    torch.manual_seed(99)
    second = Training(build_forecaster(split, TINY, embedding_lengths={}), split)
    fit = second.prepare(epochs=4)
    fit.restore(stop.states)
    rates: list[float] = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    assert fit.run(device="cpu", watchers=[Look()]) == expected
    weights, same = whole.forecaster.state_dict(), second.forecaster.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    plan = Plan(batches_per_epoch=3, learning_rate=0.01, epochs=4)
    assert rates == [plan.learning_rate_at(batch, batch / 12) for batch in range(batches, 12)]


def test_a_training_that_was_interrupted_after_its_last_batch_has_nothing_left_to_train(
    training: Training, tmp_path: Path
) -> None:
    fit = training.prepare(epochs=2)
    stop = StopAfter(fit, 6, tmp_path)
    done = fit.run(device="cpu", watchers=[stop])
    again = training.prepare(epochs=2)
    again.restore(stop.states)
    assert again.run(device="cpu") == done


def test_a_resumed_training_by_time_ends_at_a_learning_rate_of_zero(training: Training, tmp_path: Path) -> None:
    tick, rates = Tick(), list[float]()
    fit = training.prepare(epochs=None, seconds=10.0, clock=lambda: tick.now)
    stop = StopAfter(fit, 4, tmp_path)
    fit.run(device="cpu", watchers=[tick, stop])

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"] / min(1.0, (len(rates) + 5) / WARM_UP_BATCHES))

    later = Tick()
    phase = Budget(10.0, lambda: later.now, spent_before=4.0).phase(begin=stop.states["schedule"].values["begin"])
    plan = Plan(batches_per_epoch=3, learning_rate=0.01)
    fit = Fit(training.forecaster, training.batches, training.validation, plan=plan, phase=phase)
    fit.restore(stop.states)
    assert fit.run(device="cpu", watchers=[later, Look()]).batches == 10
    assert rates == pytest.approx([0.005 * (1 + cos(pi * second / 10)) for second in range(4, 10)])
    assert plan.learning_rate_at(100, phase.progress) == 0.0


@needs_a_gpu
@pytest.mark.parametrize(("first", "second"), [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")])
def test_a_training_is_resumed_on_any_device(training: Training, tmp_path: Path, first: str, second: str) -> None:
    before = training.validation_loss()
    fit = training.prepare(epochs=4, learning_rate=0.02)
    stop = StopAfter(fit, 4, tmp_path)
    assert fit.run(device=first, watchers=[stop]).batches == 4
    again = training.prepare(epochs=4, learning_rate=0.02)
    again.restore(stop.states)
    assert again.run(device=second).batches == 12
    assert training.validation_loss() < before
