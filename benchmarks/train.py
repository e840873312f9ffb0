"""How fast training is: windows per second of the trainer's step, of the library's own pipeline (its dataset's loader,
its network, Lightning's loop) and of the floor, three times the multiplications of a forward pass at the rate of
torch's matrix product. And how long both take to one validation loss, on the real fleet where that is at hand.

All take turns in one process, with the trainer's default lengths (288 steps in, 96 out), batches of 64 and dropout 0.1.
On a GPU (--device cuda), both train with torch.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from typing import Any, NamedTuple

import numpy as np
import torch
from common import Report, Row, Target, add_device, median, run_benchmark, tell
from lightning.pytorch import Callback, Trainer, seed_everything
from matplotlib.figure import Figure
from pytorch_forecasting import TemporalFusionTransformer
from support.fleet import GOOGLE_FLEET, METRICS
from support.library_dataset import library_dataset
from support.small_fleet import fleet_of, series_of, wavy
from torch import nn

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.training.batches import TrainingBatches
from nordiq_watch.training.dataset import FleetData, load_dataset
from nordiq_watch.training.forecaster import Forecaster, build_forecaster, start_at_last_value
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.timeseries import Split, split_by_time

SIZES, TARGETS, THREADS = (16, 32, 64, 128), (1, 14), (1, 2)
CASES = [*product(SIZES, TARGETS, THREADS), (32, 2, 2), (128, 2, 2)]
QUICK_CASES = [(32, 2, 2)]
RATIOS = {32: 15.0, 128: 6.0}
"""hidden size → how many times the library's rate the trainer is to reach, with two targets on two threads."""
FLOORS = 4.0
BATCHES, LIBRARY_BATCHES = 20, 3
"""Batches timed of each; two more go before, in which memory is touched for the first time."""
LOSS_SECONDS, PATIENCE = 30.0, 10.0
"""How long the trainer trains to set the validation loss; how many times as long the library gets to reach it."""
JUDGED_EVERY, JUDGED = 5, 128
LAST_SLOT = 2304  # of the real fleet: later ones are read by quality.py alone
OURS, LIBRARY, FLOOR = "trainer", "library", "floor"


@dataclass(frozen=True)
class Subject:
    """Data and settings of one case."""

    data: FleetData
    split: Split
    config: TrainingSettings

    def ours(self) -> tuple[Forecaster, Iterator[Batch]]:
        seed_everything(self.config.seed, verbose=False)
        forecaster = build_forecaster(self.split, self.config, embedding_lengths={})
        start_at_last_value(forecaster, self.split.training)
        batches = TrainingBatches(
            self.split.training, batch_size=self.config.batch_size, max_batches=None, seed=self.config.seed
        )
        return forecaster, (batches.batch(number) for number in count())

    def library(self) -> tuple[TemporalFusionTransformer, Iterable[Batch]]:
        """The same network and loss in the library's own class, with the loader of its dataset."""
        ours = build_forecaster(self.split, self.config, embedding_lengths={})
        with quiet_libraries():
            dataset = library_dataset(self.split, self.data, self.split.training.source.series)
            network = TemporalFusionTransformer(**{**ours.hparams, "loss": ours.loss, "optimizer": "adam"})
        return network, dataset.to_dataloader(train=True, batch_size=self.config.batch_size, num_workers=0)


class Cost(NamedTuple):
    """seconds: on the clock. processor: of all threads together, which other programs on the machine do not change
    where one thread computes; several of torch's wait for each other in loops.
    """

    seconds: float
    processor: float


class Clock(Callback):
    """When each batch ended, and the processor time of all threads until then."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.spent: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.spent.append(time.process_time())

    @property
    def cost(self) -> Cost:
        """Of a batch, medians; the first two are not counted."""
        return Cost(median(np.diff(self.ends[1:])), median(np.diff(self.spent[1:])))


class UntilLoss(Callback):
    """Stops at a validation loss or when time is over; judging is not part of that time."""

    def __init__(self, judged: Sequence[Batch], *, loss: float, seconds: float) -> None:
        self._judged, self._loss, self._limit = judged, loss, seconds
        self._started = 0.0
        self.seconds, self.best = 0.0, float("inf")

    def on_train_start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seconds += time.perf_counter() - self._started
        if batch_idx % JUDGED_EVERY == 0:
            self.best = min(self.best, validation_loss(pl_module, self._judged))
        trainer.should_stop = self.best <= self._loss or self.seconds >= self._limit
        self._started = time.perf_counter()


def validation_loss(network: Any, batches: Sequence[Batch]) -> float:
    network.eval()
    with torch.no_grad():
        loss = torch.stack([network.loss(network(x)["prediction"], y) for x, y in batches]).mean()
    network.train()
    return float(loss)


def measure(options: argparse.Namespace) -> Report:
    warnings.filterwarnings("ignore")
    rows = []
    for hidden, targets, threads in find_cases(options):
        tell(f"hidden {hidden}, {targets} targets, {threads} threads …")
        rows.append(measure_rates(hidden, targets, threads, quick=options.quick, device=options.device))
    if GOOGLE_FLEET.is_dir() and not options.quick and options.device == "cpu":
        rows.append(measure_loss())
    ratios = [
        ("times library", "times the library"),
        ("processor times library", "in processor time"),
        ("floors", "times the floor's seconds"),
    ]
    columns = [*((name, f"{name}, windows/s") for name in (OURS, LIBRARY, FLOOR)), *ratios]
    return Report(
        rows=rows,
        targets=find_targets(rows),
        tables={
            "Windows per second": [("hidden", "hidden"), ("targets", "targets"), ("threads", "threads"), *columns],
            "Seconds to one validation loss, hidden 32, two threads": [
                ("hidden", "hidden"), ("targets", "targets"), ("loss", "loss"),
                (f"{OURS} seconds", OURS), (f"{LIBRARY} seconds", LIBRARY), (f"{LIBRARY} loss", "library's loss then"),
            ],
        },
        draw=lambda figure: draw(rows, figure),
    )  # fmt: skip


def find_cases(options: argparse.Namespace) -> list[tuple[int, int, int]]:
    if options.quick:
        return QUICK_CASES
    return CASES if options.device == "cpu" else [(hidden, targets, 1) for hidden, targets in product(SIZES, TARGETS)]


def measure_rates(hidden: int, targets: int, threads: int, *, quick: bool, device: str) -> Row:
    torch.set_num_threads(threads)
    subject = make_subject(hidden, targets)
    batch_size = subject.config.batch_size
    forecaster, batches = subject.ours()
    ours = time_batches(forecaster, batches, BATCHES // 2 if quick else BATCHES, device=device)
    tell(f"  {batch_size / ours.seconds:,.0f} windows per second")
    library = time_batches(*subject.library(), 1 if quick else LIBRARY_BATCHES, device=device)
    seconds = {OURS: ours.seconds, LIBRARY: library.seconds}
    products = 3 * multiplications(forecaster.cpu(), next(batches))
    seconds[FLOOR] = products / product_rate(hidden, batch_size, device=device)
    rates = {name: batch_size / value for name, value in seconds.items()}
    compared = {
        "times library": seconds[LIBRARY] / seconds[OURS],
        "processor times library": library.processor / ours.processor,
        "floors": seconds[OURS] / seconds[FLOOR],
    }
    return {"hidden": hidden, "targets": targets, "threads": threads} | rates | compared


def make_subject(hidden: int, targets: int) -> Subject:
    """Three servers of ten days with waves and noise; the rates do not depend on the values."""
    config = TrainingSettings(hidden_size=hidden)
    series = [series_of(wavy(2880, metrics=targets, seed=seed), server=f"server{seed}") for seed in range(3)]
    data = fleet_of(*series, metrics=[f"metric_{number}" for number in range(targets)])
    return Subject(data, split_by_time(data, config=config), config)


def time_batches(network: Any, batches: Iterable[Batch], number: int, *, device: str) -> Cost:
    """Of a batch in Lightning's loop: forward, backward and Adam, the making of the batch included."""
    clock = Clock()
    fit(network, batches, device=device, callbacks=[clock], limit_train_batches=number + 2)
    return clock.cost


def fit(network: Any, batches: Iterable[Batch], *, device: str = "cpu", **options: Any) -> None:
    kind, _, index = device.partition(":")
    where: dict[str, Any] = {"accelerator": kind} | ({"devices": [int(index)]} if index else {})
    with quiet_libraries():
        trainer = Trainer(
            max_epochs=1,
            gradient_clip_val=0.5,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **where,
            **options,
        )
        trainer.fit(network, train_dataloaders=batches)


def multiplications(network: Any, batch: Batch) -> float:
    """Of one forward pass: those of all matrices with vectors, and those of the attention."""
    counted = [0.0]

    def add_linear(layer: Any, inputs: Any, _: Any) -> None:
        counted[0] += inputs[0].numel() * layer.out_features

    def add_lstm(layer: Any, inputs: Any, _: Any) -> None:
        given = inputs[0].data if hasattr(inputs[0], "batch_sizes") else inputs[0]
        counted[0] += given.numel() / layer.input_size * sum(weight.numel() for weight in layer.all_weights[0][:2])

    kinds: dict[Any, Any] = {nn.Linear: add_linear, nn.LSTM: add_lstm}
    modules: list[Any] = list(network.modules())
    hooks = [
        module.register_forward_hook(add)
        for module in modules
        for kind, add in kinds.items()
        if isinstance(module, kind)
    ]
    x, _ = batch
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    horizon, hidden = x["decoder_cont"].shape[1], network.hparams.hidden_size
    attended = float((x["encoder_lengths"] + horizon / 2).sum()) * horizon
    return counted[0] + attended * (hidden + hidden // network.hparams.attention_head_size)


def product_rate(hidden: int, windows: int, *, device: str) -> float:
    """Multiplications per second of torch's matrix product with a layer's weight, median."""
    rows = windows * 384
    x, weight = torch.randn(rows, hidden, device=device), torch.randn(hidden, 4 * hidden, device=device)
    out = torch.empty(rows, 4 * hidden, device=device)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(x, weight, out=out)
        if out.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return rows * weight.numel() / median(times)


def measure_loss() -> Row:
    torch.set_num_threads(2)
    config = TrainingSettings()
    data = load_dataset(GOOGLE_FLEET, metrics=METRICS, interval_seconds=300)
    first = min(series.first_slot for series in data.series)
    earlier = [series.between(first, first + LAST_SLOT) for series in data.series]
    data = FleetData(data.directory, data.metrics, 300, tuple(part for part in earlier if len(part.values)), ())
    subject = Subject(data, split_by_time(data, config=config), config)
    judged = [subject.split.validation.batch(subject.split.validation.source.spread(JUDGED))]
    tell("seconds to one validation loss …")
    ours = UntilLoss(judged, loss=0.0, seconds=LOSS_SECONDS)
    forecaster, batches = subject.ours()
    fit(forecaster, batches, callbacks=[ours])
    library = UntilLoss(judged, loss=ours.best, seconds=PATIENCE * LOSS_SECONDS)
    network, loader = subject.library()
    fit(network, loader, callbacks=[library])
    reached = f"{library.seconds:.0f}" if library.best <= ours.best else f"not within {library.seconds:.0f}"
    row: Row = {"hidden": config.hidden_size, "targets": len(METRICS), "loss": ours.best}
    return row | {f"{OURS} seconds": ours.seconds, f"{LIBRARY} seconds": reached, f"{LIBRARY} loss": library.best}


def find_targets(rows: Sequence[Row]) -> list[Target]:
    """Of two targets on two threads. A target is a most: the trainer's seconds beside the library's and the floor's."""
    targets = []
    for row in rows:
        if (row["targets"], row.get("threads")) != (2, 2):
            continue
        hidden = row["hidden"]
        ratio = RATIOS[hidden]
        name = f"hidden {hidden}: seconds beside the library's (at least {ratio:g} times as fast)"
        targets.append(Target(name, 1 / row["times library"], 1 / ratio))
        targets.append(Target(f"hidden {hidden}: seconds beside the floor's", row["floors"], FLOORS))
    return targets


def draw(rows: Sequence[Row], figure: Figure) -> None:
    shown = [row for row in rows if OURS in row]
    figure.set_size_inches(11, 4)
    axes = figure.subplots()
    places = np.arange(len(shown))
    for offset, name in enumerate((LIBRARY, OURS, FLOOR)):
        axes.bar(places + 0.27 * (offset - 1), [row[name] for row in shown], width=0.27, label=name)
    labels = [f"hidden {row['hidden']}\n{row['targets']} targets\n{row['threads']} threads" for row in shown]
    axes.set_xticks(places, labels, fontsize=7)
    axes.set(yscale="log", ylabel="windows per second")
    axes.legend()


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="train", add_arguments=add_device)
