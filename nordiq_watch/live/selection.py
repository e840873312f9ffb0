"""A part of an answer: some servers, some of what is said of them, in pages of one answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

import numpy as np

from nordiq_watch.labels import match
from nordiq_watch.live.columns import FleetColumns
from nordiq_watch.live.entries import Detail
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.records.arrays import IntArray

_DIGEST_BYTES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """None: not narrowed. profiles: a server has one of them. min_risk: a server without a score has less than any.
    labels: by name, in their order, the values of which a server has one.
    """

    servers: frozenset[str] | None = None
    profiles: frozenset[str] | None = None
    min_risk: float | None = None
    labels: tuple[tuple[str, frozenset[str]], ...] = ()
    detail: Detail = field(default_factory=Detail)

    def digest(self) -> str:
        """Tells selections apart, in every process alike."""
        parts = (self.servers, self.profiles, self.detail.metrics, self.detail.fields)
        labels = [(name, sorted(values)) for name, values in self.labels]
        text = repr([*(None if part is None else sorted(part) for part in parts), self.min_risk, labels])
        return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: the answer's tag, the digest of its selection, and the number of servers before it."""

    etag: str
    selection: str
    position: int

    def write(self) -> str:
        """As text for a URL."""
        text = f"{self.position} {self.selection} {self.etag}"
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode("ascii")

    @classmethod
    def read(cls, text: str) -> Cursor | None:
        """What `write` wrote; None for anything else."""
        try:
            padded = text + "=" * (-len(text) % 4)
            decoded = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode()
        except (binascii.Error, UnicodeError):
            return None
        position, _, rest = decoded.partition(" ")
        selection, _, etag = rest.partition(" ")
        if not (position.isascii() and position.isdecimal() and len(position) < 10 and etag):
            return None
        return cls(etag, selection, int(position))


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """rows (servers,): those of this page, in the order of the answer. matched: the servers on all pages. following:
    where the next page begins; None after the last one. is_first: nothing comes before it.
    """

    rows: IntArray
    matched: int
    following: Cursor | None
    is_first: bool


def turn_to(answer: Answer, selection: Selection, *, limit: int | None = None, position: int = 0) -> Page:
    """The page of at most `limit` servers that begins behind `position` of them."""
    rows = np.empty(0, dtype=np.int64) if answer.columns is None else find_rows(answer.columns, selection)
    end = len(rows) if limit is None else min(len(rows), position + limit)
    following = Cursor(answer.etag, selection.digest(), end) if end < len(rows) else None
    return Page(rows[position:end], len(rows), following, is_first=position == 0)


def find_rows(columns: FleetColumns, selection: Selection) -> IntArray:
    """The rows of the selected servers, in the answer's order."""
    if selection.servers is None:
        rows = np.arange(len(columns.servers))
    else:
        known = (columns.row_of.get(name) for name in selection.servers)
        rows = np.array(sorted(row for row in known if row is not None), dtype=np.int64)
    if selection.profiles is not None:
        wanted = np.array([profile in selection.profiles for profile in columns.profiles], dtype=np.bool_)
        rows = rows[wanted[columns.profile_codes[rows]]]
    if selection.labels:
        if columns.label_codes is None:
            return rows[:0]
        matching = np.array([match(labels, selection.labels) for labels in columns.labels], dtype=np.bool_)
        rows = rows[matching[columns.label_codes[rows]]]
    if selection.min_risk is not None:
        if columns.verdicts is None:
            return rows[:0]
        rows = rows[columns.verdicts.scores[rows] >= selection.min_risk]
    return rows
