"""Dataset in, model directory out: load, split, train, evaluate, write. Runs as its own process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from lightning.pytorch import seed_everything
from rich.console import Console
from safetensors.torch import save
from torch import Tensor

from nordiq_watch.artifact.layout import name_at
from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.config import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.spec import ModelSpec, ServerMapping, TrainingInfo
from nordiq_watch.training.batches import TrainingBatches, ValidationBatches, Windows, spread_evenly
from nordiq_watch.training.dataset import FleetData, load_dataset, some
from nordiq_watch.training.evaluation import Evaluation, evaluate, to_table
from nordiq_watch.training.export import export_model
from nordiq_watch.training.forecaster import Forecaster, build_forecaster, start_at_last_value
from nordiq_watch.training.incremental import Predecessor, check_fit, find_newest, take_weights
from nordiq_watch.training.loop import Clock, Fitted, Plan, fit
from nordiq_watch.training.progress import ProgressReport
from nordiq_watch.training.statistics import describe_values
from nordiq_watch.training.timeseries import Split, split_by_time

EPOCH_WINDOWS = 500
"""Validation windows looked at after each epoch: enough to see a trend, few enough to cost little."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to train. per_server: the server's name is an input, so that one model covers each server separately.

    incremental: begin with the weights of the newest model in models_dir, if there is one.
    """

    dataset: Path
    models_dir: Path
    epochs: int
    per_server: bool = False
    incremental: bool = False


class TrainingRun:
    """One order, carried out once."""

    def __init__(
        self,
        order: Order,
        settings: Settings,
        *,
        console: Console,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._order = order
        self._config = settings.config
        self._console = console
        self._clock = clock
        self._now = now

    def execute(self) -> Path:
        """Trains, and returns the new model's directory, which appears whole or not at all.

        On the CPU, the same data, settings and seed give the same weights, unless training.max_seconds cut them short.
        Raises DatasetError, ConfigError, NordiqError, OSError for the disk, KeyboardInterrupt.
        """
        _check_place(self._order.models_dir)
        data = self._load()
        predecessor = self._find_predecessor()
        split = self._split(data, predecessor)
        forecaster = self._build(split, predecessor)
        fitted = self._fit(forecaster, split)
        evaluation = self._evaluate(forecaster, split)
        return self._write(split, forecaster, fitted, evaluation, predecessor, statistics=describe_values(data))

    def _report(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def _load(self) -> FleetData:
        data = load_dataset(
            self._order.dataset,
            metrics=self._config.metrics,
            interval_seconds=self._config.window.interval_seconds,
        )
        slots = sum(len(series.values) for series in data.series)
        servers = some(len(data.servers), "server")
        self._report(f"{data.directory}: {servers}, {slots:,} slots, {', '.join(data.metrics)}")
        for repair in data.repairs:
            self._report(f"  {repair}")
        return data

    def _find_predecessor(self) -> Predecessor | None:
        if not self._order.incremental:
            return None
        predecessor = find_newest(self._order.models_dir, self._report)
        if predecessor is None:
            self._report(f"no model in {self._order.models_dir} to go on from: starting afresh")
        else:
            self._report(f"going on from {predecessor.name}")
        return predecessor

    def _split(self, data: FleetData, predecessor: Predecessor | None) -> Split:
        split = split_by_time(
            data,
            config=self._config.training,
            per_server=self._order.per_server,
            previous=predecessor.spec if predecessor else None,
        )
        left_out = len(data.servers) - len(split.servers)
        if left_out:
            self._report(f"  {some(left_out, 'server')} without an unbroken series that is long enough: not trained on")
        self._report(f"{len(split.training):,} windows to train on, {len(split.validation):,} later ones to validate")
        return split

    def _build(self, split: Split, predecessor: Predecessor | None) -> Forecaster:
        seed_everything(self._config.training.seed, verbose=False)
        lengths = predecessor.embedding_lengths if predecessor else {}
        forecaster = build_forecaster(split, self._config.training, embedding_lengths=lengths)
        if predecessor is None:
            start_at_last_value(forecaster, Windows(split.training))
        else:
            spec, _ = self._export(split, forecaster, {})
            check_fit(predecessor, spec)
            take_weights(forecaster, predecessor)
        return forecaster

    def _fit(self, forecaster: Forecaster, split: Split) -> Fitted:
        training = self._config.training
        batches = TrainingBatches(
            Windows(split.training),
            batch_size=training.batch_size,
            max_batches=training.max_batches_per_epoch,
            seed=training.seed,
        )
        rows = spread_evenly(split.validation, limit=EPOCH_WINDOWS)
        plan = Plan(self._order.epochs, len(batches), training.learning_rate, training.max_seconds)
        fitted = fit(
            forecaster,
            batches,
            ValidationBatches(Windows(split.validation), rows, batch_size=training.batch_size),
            plan=plan,
            device=self._config.device,
            clock=self._clock,
            watchers=[ProgressReport(self._console, plan, self._clock)],
        )
        done = f"{some(fitted.epochs, 'epoch')}, {some(fitted.batches, 'batch', 'batches')}"
        self._report(f"trained {done}, in {fitted.seconds:.0f} s")
        return fitted

    def _evaluate(self, forecaster: Forecaster, split: Split) -> Evaluation:
        evaluation = evaluate(
            forecaster,
            split,
            interval_seconds=self._config.window.interval_seconds,
            batch_size=self._config.training.batch_size,
        )
        self._console.print(to_table(evaluation))
        return evaluation

    def _export(
        self, split: Split, forecaster: Forecaster, training_config: dict[str, Any]
    ) -> tuple[ModelSpec, dict[str, Tensor]]:
        return export_model(
            forecaster,
            split.training,
            interval_seconds=self._config.window.interval_seconds,
            metrics=list(split.fill_values),
            fill_values=split.fill_values,
            created_at=self._now().isoformat(timespec="seconds"),
            training_config=training_config,
        )

    def _write(
        self,
        split: Split,
        forecaster: Forecaster,
        fitted: Fitted,
        evaluation: Evaluation,
        predecessor: Predecessor | None,
        *,
        statistics: dict[str, Any],
    ) -> Path:
        described = self._describe(fitted, predecessor) | {"statistics": statistics}
        spec, tensors = self._export(split, forecaster, described)
        info = TrainingInfo(
            epochs=fitted.epochs,
            training_time=round(fitted.seconds, 1),
            servers_trained=len(split.servers),
            validation=evaluation.to_json(),
        )
        known = predecessor.mapping.name_to_id if predecessor else {}
        drop = partial(write_model_directory, self._order.models_dir, weights=save(tensors), spec=spec, info=info)
        moment = self._now()
        while True:
            name = name_at(moment)
            try:
                return drop(name=name, mapping=map_servers(split.servers, known=known, version=name))
            except FileExistsError:
                moment += timedelta(seconds=1)

    def _describe(self, fitted: Fitted, predecessor: Predecessor | None) -> dict[str, Any]:
        """For config.json: the settings, the order, and what came of it."""
        settings: dict[str, Any] = msgspec.to_builtins(self._config.training)
        return settings | {
            "epochs": self._order.epochs,
            "batches": fitted.batches,
            "per_server": self._order.per_server,
            "incremental_from": predecessor.name if predecessor else None,
            "dataset": self._order.dataset.resolve().name,
        }


def map_servers(servers: Sequence[str], *, known: Mapping[str, int], version: str) -> ServerMapping:
    """Numbers for all servers that the weights have seen: those known keep theirs, new ones follow by name."""
    ids = dict(known)
    for server in sorted(set(servers) - ids.keys()):
        ids[server] = max(ids.values(), default=-1) + 1
    return ServerMapping(
        name_to_id=ids, id_to_name={str(i): name for name, i in ids.items()}, version=version, total_servers=len(ids)
    )


def _check_place(models_dir: Path) -> None:
    """ConfigError now rather than after hours of training."""
    place = next(path for path in (models_dir, *models_dir.parents) if path.exists())
    if not place.is_dir():
        raise ConfigError(f"{place} is a file, models need a directory. Name another with --models-dir or models.dir.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{place}: no permission to write models there. Change that, or name another --models-dir.")
