"""The same fleet and the same network twice: as pytorch-forecasting takes them, and as the daemon does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_forecasting import GroupNormalizer, MultiNormalizer, NaNLabelEncoder, QuantileLoss, TimeSeriesDataSet
from pytorch_forecasting import TemporalFusionTransformer as Library
from support.networks import raw_tensors, shake

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.ingest.window import Window
from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import CALENDAR, calendar_input
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.models import RawTensor
from nordiq_watch.records.samples import Batch
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.export import export_model

ENCODER, HORIZON, INTERVAL_SECONDS = 288, 96, 300
HEADS = 8
QUANTILES = (0.1, 0.5, 0.9)
LAST_SLOT = 5_681_664
PROFILES = ("Database", "Web API", "ML Compute")

_TRAINED_ON = 12  # servers: the library's dataset is made of them, and their scales stand for all
_QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def make_values(servers: int, slots: int, *, seed: int = 0) -> NDArray[np.float64]:
    """(servers, slots, metrics): a level, a daily rhythm and a walk for each."""
    chance = np.random.default_rng(seed)
    shape = (servers, slots, len(DEFAULT_METRICS))
    level = chance.uniform(15, 60, size=(servers, 1, len(DEFAULT_METRICS)))
    rhythm = 8 * np.sin(np.arange(slots) * 2 * np.pi / ENCODER + chance.uniform(0, 6, size=(servers, 1)))[..., None]
    return np.asarray((level + rhythm + chance.normal(scale=0.5, size=shape).cumsum(axis=1)).clip(0.5, 99.5))


def make_frame(values: NDArray[np.float64], *, ahead: int = HORIZON) -> pd.DataFrame:
    """As the library wants it, with `ahead` more slots of which nothing but the calendar is known."""
    servers, slots, _ = values.shape
    length = slots + ahead
    time = np.arange(LAST_SLOT - slots + 1, LAST_SLOT + 1 + ahead)
    padded = np.concatenate([values, np.ones((servers, ahead, values.shape[2]))], axis=1)
    columns: dict[str, Any] = {
        "time_idx": np.tile(time, servers),
        "server_name": np.repeat([f"ppdb{number:05}" for number in range(servers)], length),
        "profile": np.repeat([PROFILES[number % len(PROFILES)] for number in range(servers)], length),
        "status": STATUSES[1],
    }
    columns |= {metric: padded[..., column].ravel() for column, metric in enumerate(DEFAULT_METRICS)}
    columns |= {
        name: np.tile(calendar_input(name, time, interval_seconds=INTERVAL_SECONDS), servers) for name in CALENDAR
    }
    return pd.DataFrame(columns)


def fill_window(values: NDArray[np.float64], *, tracks_changes: bool = False) -> Window:
    """The daemon's window after it was fed the values slot by slot. tracks_changes: as a daemon with a GPU does."""
    servers, slots, _ = values.shape
    window = Window(
        DEFAULT_METRICS,
        interval_seconds=INTERVAL_SECONDS,
        length=ENCODER,
        max_servers=servers,
        silent_seconds=INTERVAL_SECONDS,
        tracks_changes=tracks_changes,
    )
    names = tuple(f"ppdb{number:05}" for number in range(servers))
    for slot in range(slots):
        window.apply(
            Batch(
                servers=names,
                profiles=tuple(PROFILES[number % len(PROFILES)] for number in range(servers)),
                rows=np.arange(servers),
                slots=np.full(servers, LAST_SLOT - slots + 1 + slot),
                statuses=np.ones(servers, dtype=np.uint8),
                values=values[:, slot].astype(np.float32),
                offsets=np.zeros(servers, dtype=np.int64),
            )
        )
        window.settle(window.open_slots())
    return window


@dataclass(frozen=True)
class Peer:
    """One untrained network with noise on its weights, in the library and as the files of a model directory."""

    dataset: TimeSeriesDataSet
    model: Library
    spec: ModelSpec
    tensors: dict[str, RawTensor]

    def predict(self, frame: pd.DataFrame, *, batch_size: int, accelerator: str = "cpu") -> FloatArray:
        """(servers, targets, horizon, quantiles): the library's own way from a frame to quantiles.

        accelerator: Lightning's word for the device.
        """
        options = {**_QUIET, "accelerator": accelerator}
        with quietly():
            dataset = TimeSeriesDataSet.from_dataset(self.dataset, frame, predict=True)
            loader = dataset.to_dataloader(train=False, batch_size=batch_size, num_workers=0)
            output = self.model.predict(loader, mode="quantiles", trainer_kwargs=options)
        targets = output if isinstance(output, list | tuple) else [output]
        return np.stack([target.cpu().numpy() for target in targets], axis=1)


def make_peer(*, hidden_size: int, targets: Sequence[str], calm: bool = False) -> Peer:
    """All metrics are read, `targets` are forecast. Scales are fixed: the library is at its quickest with those.

    calm: its forecasts are the middle of the data ± a deviation, so that a daemon's canary lets it pass.
    """
    values = make_values(_TRAINED_ON, ENCODER + HORIZON, seed=1)
    several = len(targets) > 1
    normalizers = [GroupNormalizer(transformation="softplus") for _ in targets]
    open_encoders = {name: NaNLabelEncoder(add_nan=True) for name in ("server_name", "profile", "status")}
    with quietly():
        dataset = TimeSeriesDataSet(
            make_frame(values, ahead=0),
            time_idx="time_idx",
            group_ids=["server_name"],
            target=list(targets) if several else targets[0],
            target_normalizer=MultiNormalizer(normalizers) if several else normalizers[0],
            max_encoder_length=ENCODER,
            max_prediction_length=HORIZON,
            static_categoricals=["profile"],
            time_varying_known_reals=list(CALENDAR),
            time_varying_unknown_reals=[*targets, *(name for name in DEFAULT_METRICS if name not in targets)],
            time_varying_unknown_categoricals=["status"],
            categorical_encoders=open_encoders,
            add_relative_time_idx=True,
        )
        torch.manual_seed(0)
        model = Library.from_dataset(
            dataset,
            hidden_size=hidden_size,
            attention_head_size=HEADS,
            hidden_continuous_size=hidden_size // 2,
            loss=QuantileLoss(list(QUANTILES)),
        )
    shake(model)
    if calm:
        for layer in model.output_layer if several else [model.output_layer]:
            torch.nn.init.zeros_(layer.weight)
            layer.bias.data = torch.tensor([-1.0, 0.0, 1.0])
    spec, tensors = export_model(
        model.eval(),
        dataset,
        interval_seconds=INTERVAL_SECONDS,
        metrics=DEFAULT_METRICS,
        fill_values={},
        created_at="2025-01-30T14:30:00Z",
        training_config={},
    )
    return Peer(dataset, model, spec, raw_tensors(tensors))


@contextmanager
def quietly() -> Iterator[None]:
    """The library and what it uses warn about each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
