"""The quantiles as a model gave them and the bands as they are served, in one array: of a large fleet two would be a
fifth of what a server takes at the peak.

Most points are served as the model gave them. So the bands take the values' place, and only of the points where they
differ, because the model crossed its quantiles or went beyond what the metric can be, its numbers stay beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.portions import portions
from nordiq_watch.quantiles import SERVED_QUANTILES, clip_to_possible, rearrange
from nordiq_watch.records.arrays import FloatArray, IntArray

_POINT = len(SERVED_QUANTILES)


class RawQuantiles:
    """Of models whose quantiles are SERVED_QUANTILES: to be indexed as their values, (servers, targets, horizon, 3).

    What indexing gives is not to be written to. bands: as served. places (n,): ascending, which of the points (servers,
    targets, horizon), counted through, are served otherwise; numbers (n, 3): what the model gave there.
    """

    def __init__(self, bands: FloatArray, *, places: NDArray[Any], numbers: FloatArray) -> None:
        self.bands = bands
        self.places = places
        self.numbers = numbers

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bands.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.bands.dtype

    def __len__(self) -> int:
        return len(self.bands)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> FloatArray:
        """As of an array; servers in any way, the other axes by numbers and slices."""
        servers, *rest = _complete(key)
        if any(not isinstance(one, int | slice) for one in rest):
            raise TypeError(f"only the first axis is indexed by arrays, not {key!r}")
        if isinstance(servers, slice) and not self._differs(servers):
            served: FloatArray = self.bands[(servers, *rest)]
            return served
        positions = np.arange(len(self))[servers]
        found = self._read(np.atleast_1d(positions), (slice(None), *rest))
        return found if positions.ndim else found[0]

    def head(self, count: int) -> RawQuantiles:
        """Those of the first servers, without a copy."""
        end = int(self._find(count * self._points))
        return RawQuantiles(self.bands[:count], places=self.places[:end], numbers=self.numbers[:end])

    @property
    def _points(self) -> int:
        """Of one server."""
        return self.shape[1] * self.shape[2]

    def _differs(self, servers: slice) -> bool:
        begin, end, step = servers.indices(len(self))
        first, last = (begin, end) if step > 0 else (end + 1, begin + 1)
        begun, ended = self._find(np.array((first, max(first, last))) * self._points)
        return bool(begun < ended)

    def _find(self, points: Any) -> Any:
        """How many places lie before these points; in their own type, or all of them would be converted."""
        return np.searchsorted(self.places, np.asarray(points, dtype=self.places.dtype))

    def _read(self, positions: IntArray, at: tuple[Any, ...]) -> FloatArray:
        shape = np.empty((0, *self.shape[1:]), dtype=self.dtype)[at].shape
        found: FloatArray = np.empty((len(positions), *shape[1:]), dtype=np.float32)
        for part in portions(len(positions)):
            found[part] = self._assemble(positions[part])[at]
        return found

    def _assemble(self, positions: IntArray) -> FloatArray:
        """The values of some servers."""
        values: FloatArray = self.bands[positions]
        begins, ends = (self._find((positions + end) * self._points) for end in (0, 1))
        counts = ends - begins
        total = int(counts.sum())
        if total:
            local = np.repeat(np.arange(len(positions)), counts)
            which = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + begins[local]
            points = self.places[which] - (positions - np.arange(len(positions)))[local] * self._points
            values.reshape(-1, _POINT)[points] = self.numbers[which]
        return values


def _complete(key: Any) -> tuple[Any, ...]:
    """The key with an index for the servers, without an ellipsis."""
    keys = key if isinstance(key, tuple) else (key,)
    where = next((place for place, one in enumerate(keys) if one is Ellipsis), None)
    if where is None:
        return keys or (slice(None),)
    missing = 4 - len(keys) + 1
    return (*keys[:where], *(slice(None),) * missing, *keys[where + 1 :])


def serve_in_place(values: FloatArray, targets: Sequence[str]) -> RawQuantiles:
    """values (servers, targets, horizon, 3), of SERVED_QUANTILES: it holds the bands from now on, as
    `quantiles.make_bands` makes them.
    """
    return settle(
        values,
        lambda some: values[some],
        serve=lambda raw: clip_to_possible(rearrange(raw, SERVED_QUANTILES), targets),
    )


def settle(
    bands: FloatArray, raw_of: Callable[[slice], FloatArray], *, serve: Callable[[FloatArray], FloatArray]
) -> RawQuantiles:
    """Fills `bands` with what is served of `raw_of`, some servers at a time; `raw_of` may read there what it gives."""
    points, places, numbers = bands.shape[1] * bands.shape[2], [], []
    kind = np.uint32 if len(bands) * points < 1 << 32 else np.int64
    for some in portions(len(bands)):
        raw = np.ascontiguousarray(raw_of(some))
        served = serve(raw)
        differ = (served.view(np.uint32) != raw.view(np.uint32)).any(axis=-1).ravel()  # of NaN and zero, too, each bit
        if differ.any():
            where = np.flatnonzero(differ)
            places.append((some.start * points + where).astype(kind))
            numbers.append(raw.reshape(-1, _POINT)[where])
        bands[some] = served
    return RawQuantiles(
        bands,
        places=np.concatenate(places) if places else np.empty(0, dtype=kind),
        numbers=np.concatenate(numbers) if numbers else np.empty((0, _POINT), dtype=np.float32),
    )


def first_servers(values: FloatArray, count: int) -> FloatArray:
    """The values of the first servers of a forecast, as a view."""
    held = raw_of_forecast(values)
    return values[:count] if held is None else as_values(held.head(count))


def raw_of_forecast(values: object) -> RawQuantiles | None:
    """The values of a forecast if they are held beside its bands, None if they are an array."""
    return values if isinstance(values, RawQuantiles) else None


def as_values(held: RawQuantiles) -> FloatArray:
    """For `records.forecasts.Forecast`."""
    return cast("FloatArray", held)
