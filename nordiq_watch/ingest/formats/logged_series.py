"""The series in the segments of a log: one number for each, whichever segment it is in, and where it belongs."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping

from nordiq_watch.ingest.formats.series_segments import Record
from nordiq_watch.ingest.formats.server_names import Key
from nordiq_watch.ingest.formats.server_series import Place

_BETWEEN = b"\xff"
"""In no text that is written as UTF-8."""


class LoggedSeries:
    """find: where a series with these labels belongs; None if no rule wants it, or nothing names its server.

    places: of the series, by number; None for all that belong nowhere, whose number is 0. servers: numbers of their
    servers, each a place in `server_names`.
    """

    def __init__(self, find: Callable[[Mapping[str, str]], Place | None]) -> None:
        self.places: list[Place | None] = [None]
        self.servers = array("I", [0])
        self.server_names = [""]
        self._find = find
        self._by_labels: dict[bytes, int] = {}
        self._by_place: dict[tuple[str, Key], int] = {}
        self._by_server: dict[str, int] = {}

    def note(self, record: Record, numbers: array[int]) -> None:
        """Adds the series that are new in a segment: their numbers in all segments, by those in this one."""
        for number, texts in record.series:
            labels = _BETWEEN.join(texts)
            found = self._by_labels.get(labels)
            if found is None:
                found = self._by_labels[labels] = self._add(texts)
            while len(numbers) <= number:
                numbers.append(0)
            numbers[number] = found

    def _add(self, texts: list[bytes]) -> int:
        words = [text.decode(errors="surrogatepass") for text in texts]
        place = self._find(dict(zip(words[::2], words[1::2], strict=True)))
        if place is None:
            return 0
        number = self._by_place.setdefault((place.server, place.key), len(self.places))
        if number == len(self.places):
            self.places.append(place)
            self.servers.append(self._by_server.setdefault(place.server, len(self.server_names)))
            if self.servers[-1] == len(self.server_names):
                self.server_names.append(place.server)
        return number
