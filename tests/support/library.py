"""pytorch-forecasting as the reference: the same window through its own dataset and its own `predict`.

Importing this takes seconds; only tests that compare with the library do.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from pytorch_forecasting import NaNLabelEncoder, QuantileLoss, TemporalFusionTransformer, TimeSeriesDataSet

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import CALENDAR, calendar_input
from nordiq_watch.network.derived_inputs import lag_inputs, summary_inputs
from nordiq_watch.records.samples import WindowSnapshot
from support.networks import A_MONDAY, INTERVAL_SECONDS, busy_values, shake, snapshot_of

METRICS = ("cpu_user_pct", "mem_used_pct", "load_average")
QUANTILES = (0.1, 0.5, 0.9)
ENCODER, HORIZON, SERVERS = 24, 6, 7
_QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Fleet:
    """Samples of some servers. values (servers, slots, metrics), statuses (servers, slots); begins[r]: first slot."""

    servers: tuple[str, ...]
    profiles: tuple[str, ...]
    values: np.ndarray
    statuses: np.ndarray
    begins: tuple[int, ...]
    metrics: tuple[str, ...] = METRICS
    last_slot: int = A_MONDAY
    interval_seconds: int = INTERVAL_SECONDS

    @property
    def slots(self) -> int:
        return self.values.shape[1]

    def until(self, slot: int, *, slots: int) -> Fleet:
        """The last `slots` columns up to column `slot`, it included, or as many as there are."""
        first = max(0, slot + 1 - slots)
        return replace(
            self,
            values=self.values[:, first : slot + 1],
            statuses=self.statuses[:, first : slot + 1],
            begins=tuple(max(0, begin - first) for begin in self.begins),
            last_slot=self.last_slot - self.slots + 1 + slot,
        )

    def window(self) -> WindowSnapshot:
        """All of it as the daemon has it: NaN before a server's first slot."""
        values = self.values.copy()
        for row, begin in enumerate(self.begins):
            values[row, :begin] = np.nan
        return snapshot_of(
            values,
            servers=self.servers,
            profiles=self.profiles,
            metrics=self.metrics,
            statuses=self.statuses,
            last_slot=self.last_slot,
            interval_seconds=self.interval_seconds,
        )

    def frame(self, *, ahead: int = 0) -> pd.DataFrame:
        """All of it as the library wants it, with `ahead` more slots of which nothing but the calendar is known."""
        parts = [self._rows(row, ahead) for row in range(len(self.servers))]
        return pd.concat(parts, ignore_index=True)

    def _rows(self, row: int, ahead: int) -> pd.DataFrame:
        begin = self.begins[row]
        slots = np.arange(self.last_slot - self.slots + 1 + begin, self.last_slot + 1 + ahead)
        values = np.concatenate([self.values[row, begin:], np.full((ahead, len(self.metrics)), 1.0)]).astype(np.float64)
        codes = np.concatenate([self.statuses[row, begin:], np.zeros(ahead, np.uint8)])
        columns: dict[str, Any] = {"time_idx": slots, "server_name": self.servers[row], "profile": self.profiles[row]}
        columns |= {metric: values[:, column] for column, metric in enumerate(self.metrics)}
        columns |= {name: calendar_input(name, slots, interval_seconds=self.interval_seconds) for name in CALENDAR}
        columns |= dict.fromkeys(
            (*lag_inputs(self.metrics), *summary_inputs(self.metrics)), 0.0
        )  # the library has none
        columns["status"] = np.array(STATUSES)[codes]
        return pd.DataFrame(columns)


def training_fleet(metrics: Sequence[str] = METRICS) -> Fleet:
    """Known servers, with more history than one encoder."""
    names = [f"ppdb{number:03d}" for number in range(SERVERS)]
    return _fleet(names, ["Database", "Web API"], slots=90, seed=1, metrics=metrics)


def live_fleet(*, unknown: bool, short: bool, slots: int = ENCODER, metrics: Sequence[str] = METRICS) -> Fleet:
    """One window of the known servers; `unknown`: with two more of a new profile; `short`: some began later."""
    names = [f"ppdb{number:03d}" for number in range(SERVERS)] + (["ppnew1", "ppnew2"] if unknown else [])
    fleet = _fleet(names, ["Database", "Web API"], slots=slots, seed=2, metrics=metrics)
    profiles = tuple("Brand new" if name.startswith("ppnew") else profile for name, profile in _profiled(fleet))
    begins = tuple((row * 3) % 11 if short else 0 for row in range(len(names)))
    return replace(fleet, profiles=profiles, begins=begins)


def _profiled(fleet: Fleet) -> list[tuple[str, str]]:
    return list(zip(fleet.servers, fleet.profiles, strict=True))


def _fleet(names: Sequence[str], profiles: Sequence[str], *, slots: int, seed: int, metrics: Sequence[str]) -> Fleet:
    chance = np.random.default_rng(seed)
    return Fleet(
        servers=tuple(names),
        profiles=tuple(profiles[row % len(profiles)] for row in range(len(names))),
        values=busy_values(len(names), slots, len(metrics), seed=seed),
        statuses=chance.choice([1, 3, 4], size=(len(names), slots)).astype(np.uint8),
        begins=(0,) * len(names),
        metrics=tuple(metrics),
    )


@dataclass(frozen=True)
class Reference:
    """A network of the library and the dataset that it belongs to."""

    dataset: TimeSeriesDataSet
    model: TemporalFusionTransformer

    def predict(self, fleet: Fleet) -> Mapping[str, np.ndarray]:
        """Server → (targets, horizon, quantiles), by the library's own `predict` on the end of the fleet's window."""
        loader = self._loader(fleet)
        with _quietly():
            servers = [server for x, _ in loader for server in loader.dataset.x_to_index(x)["server_name"]]
            output = self.model.predict(loader, mode="quantiles", trainer_kwargs=dict(_QUIET), num_workers=0)
        return dict(zip(servers, stacked(output), strict=True))

    def predict_exactly(self, fleet: Fleet) -> Mapping[str, np.ndarray]:
        """The same in float64 on the library's own inputs: what both float32 networks are measured against."""
        x, servers = self.inputs(fleet)
        torch.set_default_dtype(torch.float64)  # the library makes some of its zeros in the default type
        try:
            with torch.no_grad():
                output = self.model.double()(as_double(x))["prediction"]
        finally:
            torch.set_default_dtype(torch.float32)
            self.model.float()  # what was float32 before is so again, bit for bit
        return dict(zip(servers, stacked(output), strict=True))

    def inputs(self, fleet: Fleet) -> tuple[dict[str, Any], list[str]]:
        """What the library's dataset makes of the window, and the server of each row."""
        loader = self._loader(fleet)
        with _quietly():
            x, _ = next(iter(loader))
        return x, list(loader.dataset.x_to_index(x)["server_name"])

    def _loader(self, fleet: Fleet) -> Any:
        with _quietly():
            dataset = TimeSeriesDataSet.from_dataset(self.dataset, fleet.frame(ahead=HORIZON), predict=True)
        return dataset.to_dataloader(train=False, batch_size=64, num_workers=0)


def reference(
    *,
    targets: Sequence[str] = ("cpu_user_pct",),
    normalizer: Any,
    dataset: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    seed: int = 0,
    deviation: float = 0.1,
) -> Reference:
    """A dataset as the trainer makes it, and an untrained network with weights shaken by `deviation`.

    dataset, network: arguments that differ from the trainer's.
    """
    several = len(targets) > 1
    layout: dict[str, Any] = {
        "time_idx": "time_idx",
        "group_ids": ["server_name"],
        "target": list(targets) if several else targets[0],
        "target_normalizer": normalizer,
        "max_encoder_length": ENCODER,
        "min_encoder_length": ENCODER // 2,
        "max_prediction_length": HORIZON,
        "static_categoricals": ["server_name", "profile"],
        "time_varying_known_reals": list(CALENDAR),
        "time_varying_unknown_reals": list(targets),
        "time_varying_unknown_categoricals": ["status"],
        "categorical_encoders": open_encoders("server_name", "profile", "status"),
        "add_relative_time_idx": True,
        "add_target_scales": True,
        "add_encoder_length": True,
    }
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "lstm_layers": 1,
        "attention_head_size": 4,
        "hidden_continuous_size": 8,
        "loss": QuantileLoss(list(QUANTILES)),
    }
    torch.manual_seed(seed)
    with _quietly():
        fleet = training_fleet(max(METRICS, tuple(targets), key=len))
        training = TimeSeriesDataSet(fleet.frame(), **(layout | dict(dataset or {})))
        model = TemporalFusionTransformer.from_dataset(training, **(sizes | dict(network or {})))
    shake(model, deviation=deviation)
    return Reference(training, model.eval())


def train_a_little(start: Reference) -> Reference:
    """Really trained, if only for some batches; `start` is used up."""
    trainer = lightning.Trainer(
        max_epochs=1, limit_train_batches=15, gradient_clip_val=0.5, enable_checkpointing=False, **_QUIET
    )
    with _quietly():
        trainer.fit(start.model, start.dataset.to_dataloader(train=True, batch_size=8, num_workers=0))
    return Reference(start.dataset, start.model.eval())


def open_encoders(*names: str) -> dict[str, NaNLabelEncoder]:
    """Encoders with a class for the unknown."""
    return {name: NaNLabelEncoder(add_nan=True) for name in names}


@contextmanager
def _quietly() -> Iterator[None]:
    """The library and what it uses warn about each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def stacked(output: Any) -> np.ndarray:
    """(servers, targets, horizon, quantiles)."""
    per_target = output if isinstance(output, list | tuple) else [output]
    return np.stack([target.detach().numpy() for target in per_target], axis=1)


def as_double(x: Mapping[str, Any]) -> dict[str, Any]:
    def double(value: Any) -> Any:
        if isinstance(value, list):
            return [double(item) for item in value]
        return value.double() if value.is_floating_point() else value

    return {name: double(value) for name, value in x.items()}
