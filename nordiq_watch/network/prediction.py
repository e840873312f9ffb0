"""What a network says of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.records.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Prediction:
    """A network's output for the warm rows of a snapshot.

    rows (n,): index into snapshot.servers. values (n, targets, horizon, quantiles): in the metric's unit, NaN
    throughout where the server's target was never measured.
    """

    rows: IntArray
    values: FloatArray
