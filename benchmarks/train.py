"""What a minute of training gives on the real fleet (`../shared/data/google-fleet`): `nordiq-watch train`, and the
library's own pipeline with the same windows, network and learning rate: its dataset's loader and Lightning's loop.

Both are judged on the newest fifth of the days, which neither trained on: mean absolute error over the two hours of the
horizon, beside repeating the last value, and the share of true values between p10 and p90.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml
from common import Report, Row, Target, median, run_benchmark, tell
from lightning.pytorch import Callback, Trainer, seed_everything
from matplotlib.figure import Figure
from pytorch_forecasting import MultiLoss, QuantileLoss, TemporalFusionTransformer
from rich.console import Console
from support.fleet import GOOGLE_FLEET, METRICS
from torch import nn

from nordiq_watch.config import Settings, load_settings
from nordiq_watch.training.dataset import load_dataset
from nordiq_watch.training.evaluation import evaluate
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.timeseries import split_by_time
from nordiq_watch.training.trainer import Order, TrainingRun

TRAINING: dict[str, Any] = {
    "hidden_size": 16,
    "attention_heads": 4,
    "max_encoder_length": 96,
    "max_prediction_length": 24,
    "batch_size": 64,
    "learning_rate": 0.005,
    "max_batches_per_epoch": 200,
}
EPOCHS = 1000  # time ends it
SECONDS, QUICK_SECONDS = 60.0, 10.0
GAINS = {"cpu_user_pct": 12.0, "mem_used_pct": 3.0}
COVERAGE = (0.75, 0.85)
OURS, LIBRARY = "nordiq-watch train", "pytorch-forecasting's own pipeline"


def measure(options: argparse.Namespace) -> Report:
    if not GOOGLE_FLEET.is_dir():
        raise SystemExit(f"the real fleet is not there: {GOOGLE_FLEET}")
    torch.set_num_threads(1)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    rows: list[Row] = []
    with TemporaryDirectory() as root:
        for seed in options.seeds[:1] if options.quick else options.seeds:
            settings = write_settings(Path(root), seed=seed, seconds=seconds)
            ways: dict[str, Callable[[Settings, Path], Row]] = {OURS: train_ours, LIBRARY: train_library}
            for name, train in ways.items():
                tell(f"{name}, seed {seed}, {seconds:g} s …")
                rows.append({"pipeline": name, "seed": seed} | train(settings, Path(root)))
    columns = ["windows a second", *(f"{metric} {what}" for metric in METRICS for what in ("MAE", "gain %", "covered"))]
    return Report(
        rows=rows,
        targets=find_targets(rows),
        tables={
            f"After {seconds:g} s on one thread": [
                ("pipeline", "pipeline"), ("seed", "seed"), *((column, column) for column in columns)
            ]
        },
        draw=lambda figure: draw(rows, figure),
    )  # fmt: skip


def write_settings(root: Path, *, seed: int, seconds: float) -> Settings:
    config_file = root / "config.yaml"
    training = TRAINING | {"seed": seed, "max_seconds": seconds}
    window = {"length": TRAINING["max_encoder_length"]}
    config_file.write_text(yaml.safe_dump({"metrics": list(METRICS), "window": window, "training": training}))
    return load_settings(config_file, {})


def train_ours(settings: Settings, root: Path) -> Row:
    """The command's own code, with its own settings."""
    (root / "models").mkdir(exist_ok=True)
    order = Order(dataset=GOOGLE_FLEET, models_dir=root / "models", epochs=EPOCHS)
    directory = TrainingRun(order, settings, console=Console(file=io.StringIO())).execute()
    info = json.loads((directory / "training_info.json").read_text())
    batches = json.loads((directory / "config.json").read_text())["training_config"]["batches"]
    windows = batches * TRAINING["batch_size"] / info["training_time"]
    return {"windows a second": windows} | describe(info["validation"]["metrics"])


class Count(Callback):
    """How many batches were trained on, in how long."""

    batches = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.batches += 1


def train_library(settings: Settings, root: Path) -> Row:
    """As its tutorials do it, with the settings above; no learning rate schedule, no early stopping."""
    training = settings.config.training
    data = load_dataset(GOOGLE_FLEET, metrics=METRICS, interval_seconds=settings.config.window.interval_seconds)
    split = split_by_time(data, config=training)
    seed_everything(training.seed, verbose=False)
    count = Count()
    with quiet_libraries():
        model = TemporalFusionTransformer.from_dataset(
            split.training,
            hidden_size=training.hidden_size,
            hidden_continuous_size=training.hidden_size // 2,
            attention_head_size=training.attention_heads,
            learning_rate=training.learning_rate,
            loss=MultiLoss([QuantileLoss() for _ in METRICS]),
            optimizer="adam",
            logging_metrics=nn.ModuleList(),
        )
        trainer = Trainer(
            max_time=timedelta(seconds=training.max_seconds or SECONDS),
            gradient_clip_val=0.5,
            callbacks=[count],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = split.training.to_dataloader(train=True, batch_size=training.batch_size, num_workers=0)
        trainer.fit(model, train_dataloaders=loader)
    interval = settings.config.window.interval_seconds
    evaluation = evaluate(model, split, interval_seconds=interval, batch_size=training.batch_size)  # type: ignore[arg-type]
    windows = count.batches * training.batch_size / (training.max_seconds or SECONDS)
    return {"windows a second": windows} | describe(evaluation.to_json()["metrics"])


def describe(metrics: dict[str, Any]) -> Row:
    row: Row = {}
    for metric, scores in metrics.items():
        model, last = scores["model"], scores["last_value"]
        row[f"{metric} MAE"] = model["mae"]
        row[f"{metric} gain %"] = (1 - model["mae"] / last["mae"]) * 100
        row[f"{metric} covered"] = model["coverage"]
    return row


def find_targets(rows: list[Row]) -> list[Target]:
    """Medians over the seeds. A target is a most: of an error, a share of the last value's."""
    ours = [row for row in rows if row["pipeline"] == OURS]
    targets = []
    for metric, gain in GAINS.items():
        share = 1 - median([row[f"{metric} gain %"] for row in ours]) / 100
        targets.append(Target(f"{metric}: MAE, share of the last value's", share, 1 - gain / 100))
        covered = median([row[f"{metric} covered"] for row in ours])
        middle = sum(COVERAGE) / 2
        name = f"{metric}: share between p10 and p90, distance from {middle:g}"
        targets.append(Target(name, abs(covered - middle), (COVERAGE[1] - COVERAGE[0]) / 2))
    return targets


def draw(rows: list[Row], figure: Figure) -> None:
    figure.set_size_inches(9, 3.5)
    for axes, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        for name in (OURS, LIBRARY):
            gains = [row[f"{metric} gain %"] for row in rows if row["pipeline"] == name]
            axes.bar([name.replace("'s own", "'s\nown")], [median(gains)], alpha=0.7)
            axes.plot([name.replace("'s own", "'s\nown")] * len(gains), gains, "k.")
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(title=metric, ylabel="better than the last value, %")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 1, 2], metavar="N", help="default: 42 1 2")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run_benchmark(measure, __doc__ or "", name="train", add_arguments=add_arguments)
