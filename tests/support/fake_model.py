"""A servable whose predictor is a few lines: what is tested with it is what happens around a forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nordiq_watch.live.servable import Servable
from nordiq_watch.network.prediction import Prediction
from nordiq_watch.records.models import ModelIdentity, Version
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec
from support.specs import small_spec


@dataclass
class FakePredictor:
    """p10, p50, p90 of a warm server are its last slot's value minus 1, plus 0, plus 1, at every step.

    A server is warm with half of the encoder measured. `before` is called first in every prediction.
    """

    spec: ModelSpec
    before: Callable[[], None] = lambda: None
    snapshots: list[WindowSnapshot] = field(default_factory=list)

    def predict(self, snapshot: WindowSnapshot) -> Prediction:
        self.before()
        if not snapshot.servers:  # no server, no forward pass
            shape = (0, len(self.spec.targets), self.spec.max_prediction_length, 3)
            return Prediction(rows=np.empty(0, np.int64), values=np.empty(shape, np.float32))
        self.snapshots.append(snapshot)
        columns = [snapshot.metrics.index(metric) for metric in self.spec.metrics]
        encoder = snapshot.values[:, -self.spec.max_encoder_length :, columns]
        measured = (~np.isnan(encoder)).any(axis=2).sum(axis=1)
        rows = np.flatnonzero(measured >= self.spec.max_encoder_length // 2)
        last = encoder[rows, -1, : len(self.spec.targets), None, None]
        steps = np.ones((self.spec.max_prediction_length, 1), dtype=np.float32)
        return Prediction(rows=rows, values=last + steps * np.array([-1, 0, 1], dtype=np.float32))


def fake_servable(
    generation: int = 1, *, name: str = "tft_model_20250130_143000", **changes: Any
) -> tuple[Servable, FakePredictor]:
    predictor = FakePredictor(small_spec(**changes))
    servable = Servable(
        version=Version(name, Path("models") / name, "20250130_143000", "fingerprint", 1, 0.0),
        identity=ModelIdentity(name, generation, "ab" * 32),
        content_sha256="cd" * 32,
        spec=predictor.spec,
        known_servers=frozenset(),
        predictor=predictor,  # type: ignore[arg-type]
    )
    return servable, predictor
