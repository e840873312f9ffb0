"""One loaded version: everything that answers need, immutable, so that holding it is enough to answer consistently."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records import Forecast, ModelIdentity, Version, WindowSnapshot
from nordiq_watch.spec import ModelSpec


@dataclass(frozen=True, eq=False)
class Servable:
    """A version in memory. Freed when the last answer or request that holds it is done."""

    version: Version
    identity: ModelIdentity
    content_sha256: str
    spec: ModelSpec
    known_servers: frozenset[str]
    predictor: Predictor

    @property
    def name(self) -> str:
        return self.version.name

    def on(self, device: str) -> Servable:
        """The same version on another device; this one is left as it is. MemoryError if there is no room."""
        return replace(self, predictor=self.predictor.on(device))

    def forecast(self, snapshot: WindowSnapshot) -> Forecast:
        """The quantiles of every warm server of the snapshot. Pure; from any thread."""
        prediction = self.predictor.predict(snapshot)
        return Forecast(
            servers=tuple(snapshot.servers[row] for row in prediction.rows),
            targets=self.spec.targets,
            quantiles=self.spec.quantiles,
            values=prediction.values,
            origin_slot=snapshot.last_slot,
            interval_seconds=self.spec.interval_seconds,
            model=self.identity,
        )
