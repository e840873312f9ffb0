"""The risks of one slot as one BLOB: uint16 little-endian by server number, compressed.

Hundredths of a point; 65535 for a server that was present but not scored, 65534 for a number without a server. Most
servers are healthy, so ten thousand of them take a few kilobytes.
"""

from __future__ import annotations

import zlib

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, IntArray

_RISK, _UNSCORED, _ABSENT, _PER_POINT = np.dtype("<u2"), 65535, 65534, 100


def pack_risks(numbers: IntArray, scores: DoubleArray) -> bytes:
    """numbers (servers,), scores (servers,): NaN for a server that was not scored."""
    risks = np.full(int(numbers.max(initial=-1)) + 1, _ABSENT, _RISK)
    risks[numbers] = np.where(np.isnan(scores), _UNSCORED, np.round(scores * _PER_POINT)).astype(_RISK)
    return zlib.compress(risks.tobytes(), 1)


def read_risk(packed: bytes, number: int) -> tuple[float | None] | None:
    """The risk under this number, (None,) if it was not scored; None if its server was absent."""
    risks = np.frombuffer(zlib.decompress(packed), _RISK)
    stored = int(risks[number]) if number < len(risks) else _ABSENT
    if stored == _ABSENT:
        return None
    return (None if stored == _UNSCORED else stored / _PER_POINT,)
