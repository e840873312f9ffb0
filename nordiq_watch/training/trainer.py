"""Trains a model: load a dataset, split, train, evaluate, write a model directory. Runs as its own process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from lightning.pytorch import seed_everything
from rich.console import Console
from safetensors.torch import save
from torch import Tensor

from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import DatasetError, NotDropped, StorageError
from nordiq_watch.spec import ModelSpec, TrainingInfo
from nordiq_watch.training.assembly import Assembly
from nordiq_watch.training.batches import TrainingBatches, ValidationBatches
from nordiq_watch.training.budget import Budget, Clock
from nordiq_watch.training.checkpoint import CheckpointFile
from nordiq_watch.training.checkpoint_writer import CheckpointWriter
from nordiq_watch.training.dataset import FleetData, load_dataset
from nordiq_watch.training.derived_windows import choose_lags
from nordiq_watch.training.drop import Product, check_place, deliver
from nordiq_watch.training.evaluation import MAX_WINDOWS
from nordiq_watch.training.export import export_model
from nordiq_watch.training.forecaster import Forecaster, build_forecaster, start_at_last_value
from nordiq_watch.training.incremental import Predecessor, check_fit, find_predecessor, take_weights
from nordiq_watch.training.interruption import StopRequest
from nordiq_watch.training.judgement import judge_version
from nordiq_watch.training.loop import Fit, Fitted
from nordiq_watch.training.order import Order, Proof
from nordiq_watch.training.origin import describe_origin
from nordiq_watch.training.progress import ProgressReport
from nordiq_watch.training.repairs import some
from nordiq_watch.training.replay import Replay, replay_moments, replay_validation
from nordiq_watch.training.resumption import begin_of, explain_failure, find_limits, open_checkpoint, restore_fit
from nordiq_watch.training.schedule import Plan
from nordiq_watch.training.skeleton import fleet_calendar
from nordiq_watch.training.statistics import describe_values
from nordiq_watch.training.timeseries import Split, split_by_time
from nordiq_watch.training.windows import Places

EPOCH_WINDOWS = 500
"""Windows validated on while training: enough to see a trend, few enough to be cheap."""

PASSES_AFTER = 2 + MAX_WINDOWS / EPOCH_WINDOWS
"""The last validation, of the weights and their average, and the evaluation, in passes over EPOCH_WINDOWS windows."""


class TrainingRun:
    """Carries out one order, once."""

    def __init__(
        self,
        order: Order,
        settings: Settings,
        *,
        console: Console,
        prove: Proof,
        clock: Clock = time.monotonic,
        started: float | None = None,
        stop: StopRequest | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """prove: the daemon's checks of a finished directory; `reload.proof.prove_written`, but for tests. started: the
        clock's reading from which the time counts, by default now. stop: ends it early.
        """
        self._order = order
        self._config = settings.config
        self._console = console
        self._prove = prove
        self._now = now
        self._clock = clock
        self._started = clock() if started is None else started
        self._stop = stop or StopRequest()
        self._file = CheckpointFile(order.models_dir)

    @property
    def kept(self) -> Path | None:
        """Where the checkpoint of this training lies; None if there is none."""
        return self._file.directory if self._file.is_own else None

    def execute(self) -> Path:
        """Trains and returns the new model's directory, which appears whole or not at all.

        On the CPU, the same data, settings and seed give the same weights, unless time ended it. Raises NotDropped for
        a model that is worse than last value or cannot be served, DatasetError, ConfigError, NordiqError, OSError and
        KeyboardInterrupt.
        """
        check_place(self._order.models_dir)
        try:
            return self._execute()
        finally:
            self._file.release()

    def _execute(self) -> Path:
        self._begin()
        data = self._load()
        predecessor = find_predecessor(self._order.models_dir, self._report) if self._order.incremental else None
        split = self._split(data, predecessor)
        forecaster = self._build(split, predecessor)
        origin = describe_origin(data, self._config.training, self._order.per_server, predecessor)
        assembly = self._fit_members(forecaster, split)
        fitted = self._fit(forecaster, split, origin, share=assembly.network_share)
        product = self._produce(data, split, assembly, forecaster, fitted, predecessor)
        past = split.training.source.shortest_past
        return self._deliver(product, replay_moments(data, shortest_past=past, length=self._window_length))

    def _report(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def _begin(self) -> None:
        order, setting = self._order, self._config.training.max_seconds
        self._checkpoint = open_checkpoint(self._file, resume=order.resume, report=self._report)
        self._limits = find_limits(self._checkpoint, order.epochs, max_seconds=order.max_seconds, setting=setting)
        spent = self._checkpoint.spent if self._checkpoint else 0.0
        self._budget = Budget(self._limits.seconds, self._clock, started=self._started, spent_before=spent)

    def _load(self) -> FleetData:
        data = load_dataset(
            self._order.dataset,
            metrics=self._config.metrics,
            interval_seconds=self._config.window.interval_seconds,
            aggregates=self._config.window.aggregate,
            forms=self._order.forms,
        )
        if data.sparse:
            raise DatasetError(f"{data.directory}: {data.sparse}")
        slots = sum(len(series.values) for series in data.series)
        servers = some(len(data.servers), "server")
        self._report(f"{data.directory}: {servers}, {slots:,} slots, {', '.join(data.metrics)}")
        for repair in data.repairs:
            self._report(f"  {repair}")
        return data

    def _split(self, data: FleetData, predecessor: Predecessor | None) -> Split:
        split = split_by_time(
            data,
            config=self._config.training,
            per_server=self._order.per_server,
            previous=predecessor.spec if predecessor else None,
            lags=choose_lags(
                window_length=self._config.window.length,
                encoder=self._config.training.max_encoder_length,
                interval_seconds=data.interval_seconds,
            ),
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
            start_at_last_value(forecaster, split.training)
        else:
            spec, _ = self._export(split, forecaster, {})
            check_fit(predecessor, spec)
            take_weights(forecaster, predecessor)
        return forecaster

    def _fit_members(self, forecaster: Forecaster, split: Split) -> Assembly:
        training = self._config.training
        spec, _ = self._export(split, forecaster, {})
        assembly = Assembly(split, spec, members=training.members, seed=training.seed, budget=self._budget)
        if training.members:
            self._report(f"fitting {' and '.join(training.members)} beside the network")
            assembly.fit()
        return assembly

    def _fit(self, forecaster: Forecaster, split: Split, origin: Mapping[str, Any], *, share: float) -> Fitted:
        training = self._config.training
        batches = TrainingBatches(
            split.training,
            batch_size=training.batch_size,
            max_batches=training.max_batches_per_epoch,
            seed=training.seed,
        )
        places = split.validation.source.spread(EPOCH_WINDOWS)
        fit = Fit(
            forecaster,
            batches,
            ValidationBatches(split.validation, places, batch_size=training.batch_size),
            plan=Plan(batches.per_epoch, training.learning_rate, self._limits.epochs),
            phase=self._budget.phase(share, begin=begin_of(self._checkpoint)),
            passes_after=PASSES_AFTER,
        )
        self._report(f"training for {self._limits} at most; losses are shares of the last value's, below 1 is better")
        if self._checkpoint:
            restore_fit(fit, self._checkpoint, origin)
            self._report(f"going on after {some(fit.schedule.batches, 'batch', 'batches')}")
        writer = CheckpointWriter(
            self._file, fit, origin=origin, limits=self._limits, stop=self._stop, report=self._report
        )
        with self._stop.deferred():
            fitted = fit.run(device=self._config.device, watchers=[writer, ProgressReport(self._console, fit)])
        self._stop.raise_pending()
        done = f"{some(fitted.epochs, 'epoch')}, {some(fitted.batches, 'batch', 'batches')}"
        self._report(f"trained {done}, in {fitted.seconds:.0f} s")
        return fitted

    def _export(
        self, split: Split, forecaster: Forecaster, training_config: dict[str, Any]
    ) -> tuple[ModelSpec, dict[str, Tensor]]:
        return export_model(
            forecaster,
            split.skeleton,
            interval_seconds=self._config.window.interval_seconds,
            metrics=list(split.fill_values),
            fill_values=split.fill_values,
            created_at=self._now().isoformat(timespec="seconds"),
            training_config=training_config,
            calendar=fleet_calendar(self._config.training),
        )

    def _produce(
        self,
        data: FleetData,
        split: Split,
        assembly: Assembly,
        forecaster: Forecaster,
        fitted: Fitted,
        predecessor: Predecessor | None,
    ) -> Product:
        described = self._describe(fitted, predecessor) | {"statistics": describe_values(data)}
        spec, tensors = self._export(split, forecaster, described)
        places = split.validation.source.spread(MAX_WINDOWS)
        replay = self._replay(split, places)
        assembled = assembly.assemble(spec, tensors, replay, places)
        judgement = judge_version(assembled, replay, models_dir=self._order.models_dir, console=self._console)
        info = TrainingInfo(
            epochs=fitted.epochs,
            training_time=round(fitted.seconds, 1),
            servers_trained=len(split.servers),
            validation=judgement.evaluation.to_json(),
            comparison=judgement.comparison,
        )
        extras = assembly.renew(assembled, data)
        known = predecessor.mapping.name_to_id if predecessor else {}
        spec = assembled.contender.spec
        return Product(save(tensors), spec, info, split.servers, known, extras=save(extras) if extras else None)

    def _replay(self, split: Split, places: Places) -> Replay:
        return replay_validation(
            split, places, interval_seconds=self._config.window.interval_seconds, length=self._window_length
        )

    @property
    def _window_length(self) -> int:
        return max(self._config.window.length, self._config.training.max_encoder_length)

    def _deliver(self, product: Product, windows: Replay) -> Path:
        """Raises NotDropped, with the directory kept under a hidden name, if the gate refuses it or it cannot be served
        as it lies on the disk, and StorageError if it cannot be written. A signal waits until the directory is whole
        and the checkpoint gone.
        """
        models_dir, anyway = self._order.models_dir, self._order.drop_anyway

        def prove(directory: Path) -> None:
            shown = (snapshot for _, snapshot in windows.snapshots())
            self._prove(directory, shown, config=self._config, finite_only=anyway)

        with self._stop.deferred():
            try:
                directory = deliver(models_dir, product, at=self._now(), prove=prove, drop_anyway=anyway)
            except OSError as error:
                raise StorageError(explain_failure(models_dir, error, kept=self.kept)) from error
            except NotDropped:
                self._file.delete()
                raise
            self._file.delete()
        return directory

    def _describe(self, fitted: Fitted, predecessor: Predecessor | None) -> dict[str, Any]:
        """The settings, the order and the outcome, for config.json."""
        settings: dict[str, Any] = msgspec.to_builtins(self._config.training)
        return settings | {
            "epochs": self._limits.epochs,
            "max_seconds": self._limits.seconds,
            "batches": fitted.batches,
            "averaged": fitted.averaged,
            "per_server": self._order.per_server,
            "incremental_from": predecessor.name if predecessor else None,
            "dataset": self._order.dataset.resolve().name,
        }
