from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from support.small_fleet import TINY, fleet_of, series_of, wavy

from nordiq_watch.errors import ConfigError, NordiqError
from nordiq_watch.training.batches import Batch, TrainingBatches, ValidationBatches, Windows, spread_evenly
from nordiq_watch.training.forecaster import Forecaster, build_forecaster
from nordiq_watch.training.loop import PATIENCE_EPOCHS, WARM_UP_BATCHES, Fitted, Plan, fit
from nordiq_watch.training.timeseries import Split, split_by_time


@pytest.fixture(scope="module")
def split() -> Split:
    data = fleet_of(series_of(wavy(80), server="a"), series_of(wavy(80, seed=1), server="b"))
    return split_by_time(data, config=TINY, per_server=True)


@pytest.fixture
def forecaster(split: Split) -> Forecaster:
    torch.manual_seed(0)
    return build_forecaster(split, TINY, embedding_lengths={})


class Training:
    """One call of `fit` on the small fleet; keyword arguments change the plan."""

    def __init__(self, forecaster: Forecaster, split: Split) -> None:
        self.forecaster = forecaster
        self.batches = TrainingBatches(Windows(split.training), batch_size=16, max_batches=3, seed=0)
        rows = spread_evenly(split.validation, limit=8)
        self.validation = ValidationBatches(Windows(split.validation), rows, batch_size=8)

    def run(self, *watchers: Callback, clock: Callable[[], float] = lambda: 0.0, **plan: Any) -> Fitted:
        options: dict[str, Any] = {"epochs": 1, "batches_per_epoch": 3, "learning_rate": 0.01} | plan
        return fit(
            self.forecaster,
            self.batches,
            self.validation,
            plan=Plan(**options),
            device="cpu",
            clock=clock,
            watchers=watchers,
        )

    def validation_loss(self) -> float:
        self.forecaster.eval()
        with torch.no_grad():
            losses = [
                self.forecaster.loss(self.forecaster(x)["prediction"], y, encoder_target=x["encoder_target"])
                for x, y in self.validation
            ]
        return float(torch.stack(losses).mean())


@pytest.fixture
def training(forecaster: Forecaster, split: Split) -> Training:
    return Training(forecaster, split)


def test_progress_follows_the_nearer_limit() -> None:
    plan = Plan(epochs=2, batches_per_epoch=10, learning_rate=1.0, max_seconds=100.0)
    assert plan.progress(5, 0.0) == 0.25
    assert plan.progress(5, 50.0) == 0.5
    assert plan.progress(20, 500.0) == 1.0
    assert Plan(epochs=2, batches_per_epoch=10, learning_rate=1.0).progress(5, 1e9) == 0.25


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    plan = Plan(epochs=1, batches_per_epoch=1000, learning_rate=0.01)
    rates = [plan.learning_rate_at(batch, 0.0) for batch in range(1001)]
    assert rates[0] == pytest.approx(0.01 / WARM_UP_BATCHES)
    assert max(rates) == pytest.approx(0.01, rel=0.01)
    assert rates.index(max(rates)) == WARM_UP_BATCHES - 1
    assert rates[500] == pytest.approx(0.005)
    assert rates[1000] == 0.0
    assert rates[WARM_UP_BATCHES:] == sorted(rates[WARM_UP_BATCHES:], reverse=True)


def test_the_optimizer_gets_the_plans_rate(training: Training) -> None:
    rates: list[float] = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    training.run(Look(), epochs=2)
    plan = Plan(epochs=2, batches_per_epoch=3, learning_rate=0.01)
    assert rates == [plan.learning_rate_at(batch, 0.0) for batch in range(6)]


def test_training_learns(training: Training) -> None:
    before = training.validation_loss()
    fitted = training.run(epochs=5, learning_rate=0.02)
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


class WorseEachEpoch:
    """Validation batches whose truth runs away from what is forecast; the first epoch is the best one."""

    def __init__(self, batches: ValidationBatches) -> None:
        self._batches = batches
        self._epochs = count()

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        epoch = next(self._epochs)
        for x, (y, weight) in self._batches:
            yield x, ([target + 1000.0 * epoch for target in y], weight)


def test_without_improvement_it_stops_and_the_best_weights_stay(training: Training) -> None:
    after_epoch: list[dict[str, torch.Tensor]] = []

    class Look(Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            after_epoch.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

    training.validation = WorseEachEpoch(training.validation)  # type: ignore[assignment]
    fitted = training.run(Look(), epochs=50)
    assert fitted.epochs == 1 + PATIENCE_EPOCHS
    weights = training.forecaster.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in after_epoch[0].items())
    assert not all(torch.equal(weights[name], tensor) for name, tensor in after_epoch[-1].items())


def test_when_time_is_over_it_stops_within_the_epoch_and_still_validates(training: Training) -> None:
    ticks = count()
    fitted = training.run(clock=lambda: float(next(ticks)), epochs=50, max_seconds=3.0)
    assert fitted.epochs == 1
    assert fitted.batches < 3
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

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training.run(Interrupt())
    assert signal.getsignal(signal.SIGINT) is before


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
        fit(
            training.forecaster,
            training.batches,
            training.validation,
            plan=Plan(1, 3, 0.01),
            device="cuda:3",
            clock=lambda: 0.0,
        )
