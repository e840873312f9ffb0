"""One loaded version with everything an answer needs: immutable, so that holding it makes answers consistent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nordiq_watch.config.fleet_memory import COPIED_SERVERS
from nordiq_watch.network.prediction import Prediction
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.quantiles import SERVED_QUANTILES, make_bands
from nordiq_watch.raw_quantiles import as_values, serve_in_place
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecast
from nordiq_watch.records.models import ModelIdentity, Version
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec, TrainingInfo


@dataclass(frozen=True, eq=False)
class Servable:
    """A version in memory, freed when the last answer or request that holds it is done.

    training: what its directory tells of how it was made.
    """

    version: Version
    identity: ModelIdentity
    content_sha256: str
    spec: ModelSpec
    known_servers: frozenset[str]
    predictor: Predictor
    training: TrainingInfo | None = None

    @property
    def name(self) -> str:
        return self.version.name

    def on(self, device: str) -> Servable:
        """The same version on another device; this one is unchanged. Raises MemoryError."""
        return replace(self, predictor=self.predictor.on(device))

    def forecast(self, snapshot: WindowSnapshot) -> Forecast:
        """Quantiles of every warm server of the snapshot. Pure and thread-safe."""
        return self._describe(snapshot, self.predictor.predict(snapshot))

    def forecast_each(self, snapshots: Sequence[WindowSnapshot]) -> list[Forecast]:
        """`forecast` of each, at once where that costs less."""
        predictions = self.predictor.predict_each(snapshots)
        return [self._describe(*pair) for pair in zip(snapshots, predictions, strict=True)]

    def _describe(self, snapshot: WindowSnapshot, prediction: Prediction) -> Forecast:
        values, bands = self._serve(prediction.values)
        return Forecast(
            servers=tuple(snapshot.servers[row] for row in prediction.rows),
            rows=prediction.rows,
            targets=self.spec.targets,
            quantiles=self.spec.quantiles,
            values=values,
            bands=bands,
            origin_slot=snapshot.last_slot,
            interval_seconds=self.spec.interval_seconds,
            model=self.identity,
        )

    def _serve(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Values and bands; of a large fleet, where that is possible, in one array."""
        if len(values) > COPIED_SERVERS and self.spec.quantiles == SERVED_QUANTILES:
            return as_values(serve_in_place(values, self.spec.targets)), values
        return values, make_bands(values, self.spec.quantiles, self.spec.targets)
