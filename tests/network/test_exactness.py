"""Every way of computing a forecast against the oracle: pytorch-forecasting's network in float64, on its own inputs.

No way may be further from it than the library's own float32 is, nor than 1e-4 in the metric's unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from pytorch_forecasting.data.encoders import EncoderNormalizer, MultiNormalizer
from support.library import ENCODER, METRICS, Fleet, Reference, live_fleet, reference, train_a_little
from support.networks import INTERVAL_SECONDS, parse_weights, weights_file

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.ingest.window import Window
from nordiq_watch.network.forward import Way
from nordiq_watch.network.native_library import load_library
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.samples import Batch, WindowSnapshot
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.export import export_model

pytestmark = pytest.mark.slow

ABSOLUTE = 1e-4
LAST_DIGITS = 3
"""Units in the last place of the answer: where the library's error is below that, which way is nearer is chance."""


@dataclass
class Network:
    """One network of the library, and what the daemon makes of its files."""

    targets: tuple[str, ...]
    hidden: int
    layers: int
    heads: int = 4
    trained: bool = False

    @cached_property
    def reference(self) -> Reference:
        normalizers = [EncoderNormalizer(max_length=[1, ENCODER], transformation="relu") for _ in self.targets]
        made = reference(
            targets=self.targets,
            normalizer=MultiNormalizer(normalizers) if len(normalizers) > 1 else normalizers[0],
            dataset={"randomize_length": True} if self.trained else {},
            network={
                "hidden_size": self.hidden,
                "hidden_continuous_size": self.hidden // 2,
                "lstm_layers": self.layers,
                "attention_head_size": self.heads,
                "learning_rate": 0.01,
            },
            deviation=0.4
            / self.hidden**0.5,  # noise of one size, or no float32 would be near float64 in a wide network
        )
        return train_a_little(made) if self.trained else made

    @cached_property
    def files(self) -> tuple[ModelSpec, bytes]:
        arguments: dict[str, Any] = {"fill_values": {}, "created_at": "2025-01-30T14:30:00Z", "training_config": {}}
        spec, tensors = export_model(
            self.reference.model,
            self.reference.dataset,
            interval_seconds=INTERVAL_SECONDS,
            metrics=self.targets,
            **arguments,
        )
        return msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec), weights_file(tensors)

    def predictor(self, way: Way) -> Predictor:
        if way == "native" and load_library() is None:
            pytest.skip("no native kernel is built: there was no C++ compiler at the installation")
        spec, weights = self.files
        return Predictor(spec, parse_weights(weights), device="cpu", prefer=way)


NETWORKS = {
    "hidden 8, three layers, 14 targets": Network(DEFAULT_METRICS, 8, 3, heads=2),
    "hidden 16, trained, three targets": Network(METRICS, 16, 1, trained=True),
    "hidden 32, trained": Network(METRICS[:1], 32, 2, trained=True),
    "hidden 64, two layers, three targets": Network(METRICS, 64, 2),
    "hidden 128, trained, 14 targets": Network(DEFAULT_METRICS, 128, 1, heads=8, trained=True),
    "hidden 256, trained, two layers": Network(METRICS[:2], 256, 2, heads=8, trained=True),
}


@dataclass(frozen=True)
class Oracle:
    """What the library says of one fleet, in float64 and in its own float32: server → (targets, horizon, quantiles)."""

    exact: Mapping[str, np.ndarray]
    library: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, asked: Reference, fleet: Fleet) -> Oracle:
        return cls(asked.predict_exactly(fleet), asked.predict(fleet))

    def check(self, predictor: Predictor, snapshot: WindowSnapshot) -> None:
        prediction = predictor.predict(snapshot)
        servers = [snapshot.servers[row] for row in prediction.rows]
        assert sorted(servers) == sorted(self.exact)
        exact, library = (np.stack([of[server] for server in servers]) for of in (self.exact, self.library))
        error, own = (np.abs(values - exact).max(axis=(0, 2, 3)) for values in (prediction.values, library))
        digits = LAST_DIGITS * np.spacing(np.abs(exact).max(axis=(0, 2, 3)).astype(np.float32))
        allowed = np.minimum(ABSOLUTE, np.maximum(own, digits))
        assert (error <= allowed).all(), f"errors {error}, the library's {own}, last digits {digits}"


@pytest.fixture(params=NETWORKS, scope="module", ids=lambda name: name.replace(", ", "-").replace(" ", "-"))
def network(request: pytest.FixtureRequest) -> Network:
    return NETWORKS[request.param]


@pytest.fixture(params=[False, True], scope="module", ids=["whole", "short-and-unknown"])
def asked(request: pytest.FixtureRequest, network: Network) -> tuple[Fleet, Oracle]:
    metrics = max(METRICS, network.targets, key=len)
    fleet = live_fleet(unknown=request.param, short=request.param, metrics=metrics)
    return fleet, Oracle.of(network.reference, fleet)


@pytest.mark.parametrize("way", get_args(Way))
def test_no_way_is_further_from_float64_than_the_library(
    network: Network, asked: tuple[Fleet, Oracle], way: Way
) -> None:
    fleet, oracle = asked
    oracle.check(network.predictor(way), fleet.window())


LOOK_EVERY = 9


def ticks(fleet: Fleet) -> Iterator[Batch]:
    """The fleet's samples, slot by slot, each server from its first one on. Some are a tick late; before each look, all
    have come.
    """
    first_slot = fleet.last_slot - fleet.slots + 1
    late = np.empty((2, 0), dtype=np.int64)  # rows and columns
    for column in range(fleet.slots):
        rows = np.flatnonzero(np.array(fleet.begins) <= column)
        held = ((rows + column) % 4 == 0) & (column % LOOK_EVERY != 0)
        due = np.stack([rows, np.full(len(rows), column)])
        coming, late = np.concatenate([late, due[:, ~held]], axis=1), due[:, held]
        yield Batch(
            servers=fleet.servers,
            profiles=fleet.profiles,
            rows=coming[0],
            slots=first_slot + coming[1],
            statuses=fleet.statuses[coming[0], coming[1]],
            values=fleet.values[coming[0], coming[1]],
            offsets=np.zeros_like(coming[0]),
        )


def test_tick_by_tick_over_a_ring_that_wraps() -> None:
    """The daemon's ring against what the library says of a frame of the same samples."""
    network = NETWORKS["hidden 16, trained, three targets"]
    ways: list[Way] = ["static", "folded", *(("native",) if load_library() is not None else ())]
    predictors = [network.predictor(way) for way in ways]
    fleet = live_fleet(unknown=True, short=True, slots=3 * ENCODER)
    window = Window(
        METRICS,
        interval_seconds=INTERVAL_SECONDS,
        length=ENCODER + 5,
        max_servers=20,
        silent_seconds=86_400,
        tracks_changes=True,
    )
    for column, batch in enumerate(ticks(fleet)):
        window.apply(batch)
        if column < ENCODER or column % LOOK_EVERY:  # from here on every server is warm, and the ring wraps anywhere
            continue
        now = fleet.until(column, slots=ENCODER)
        oracle = Oracle.of(network.reference, now)
        for predictor in predictors:
            oracle.check(predictor, window.snapshot())
