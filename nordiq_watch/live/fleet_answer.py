"""One answer about the whole fleet: numbers as arrays, whose JSON is written when it is asked for.

An answer of few servers is written and compressed when it is made, and only handed out from then on.
"""

from __future__ import annotations

import gzip
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from itertools import count
from typing import Any

import msgspec
import numpy as np
import orjson

from nordiq_watch.api.enums import NoForecast
from nordiq_watch.api.predictions import FleetState, Metadata
from nordiq_watch.live.columns import FleetColumns, Verdicts
from nordiq_watch.live.entries import EVERYTHING, Detail, write_in_pieces
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.models import ModelIdentity

GZIP_LEVEL = 1
"""A forecast's digits hardly repeat: level 4 takes nearly twice the time for 8 % fewer bytes."""

Entry = dict[str, Any]

_RUN = secrets.token_hex(4)
_ticks = count(1)
"""Of all answers of this process; with the process's own number, so that no two answers ever have the same tag."""

_NOT_IN_TAGS = re.compile(r"[^\w.-]", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """What an answer says beside the forecast. verdicts: on each server, in the forecast's order."""

    verdicts: Verdicts
    fleet: FleetState


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """An answer's bytes. body: the JSON of `/predictions/current`, compressed: the same as gzip. ends (servers,): where
    each server's entry ends in the body; the first begins at `begin`, each other one behind a comma.
    """

    body: bytes
    compressed: bytes
    begin: int
    ends: IntArray

    def entry(self, row: int) -> bytes:
        """The server's name and what is said of it."""
        return self.body[self.begin if row == 0 else self.ends[row - 1] + 1 : self.ends[row]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """One answer, immutable, with everything that a request needs.

    columns: the forecast servers and their numbers; None without any. model: which model made it, None without one;
    without it there is no metadata either. fleet: what is said of all servers together; only the whole answer has it.
    stale: the answer was not made from the newest window by the live model, or its data are old by the clock. cold:
    servers that send but are not ready, with what each of them lacks in words. render_ahead: the largest number of
    servers whose JSON is written at once; every request is then handed these bytes.
    etag: weak, good for each encoding: the model and a number of this answer alone.
    """

    columns: FleetColumns | None
    metadata: Metadata | None
    model: ModelIdentity | None
    error: NoForecast | None = None
    message: str | None = None
    fleet: FleetState | None = None
    cold: Mapping[str, str] = field(default_factory=dict)
    render_ahead: int = 0
    rendered: Rendered | None = field(init=False, repr=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        name = "none" if self.model is None else f"{_NOT_IN_TAGS.sub('_', self.model.name)}.{self.model.generation}"
        object.__setattr__(self, "etag", f'W/"{name}-{_RUN}.{next(_ticks)}"')
        object.__setattr__(self, "rendered", self._render() if self.count <= self.render_ahead else None)

    @property
    def stale(self) -> bool:
        return self.metadata is not None and self.metadata.stale is True

    @property
    def count(self) -> int:
        """The number of forecast servers."""
        return 0 if self.columns is None else len(self.columns.servers)

    @property
    def body(self) -> bytes:
        """The JSON of `/predictions/current`, an `api.predictions.FleetForecast`."""
        return self.rendered.body if self.rendered is not None else b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The body, a few hundred servers at a time."""
        yield self.head()
        yield from self.entries()
        yield self.tail()

    def for_server(self, server: str) -> bytes | None:
        """The JSON of `/predictions/SERVER`; None if the daemon does not know the server."""
        row = None if self.columns is None else self.columns.row_of.get(server)
        if row is not None:
            written = self.rendered.entry(row) if self.rendered else b"".join(self.entries(np.array([row])))
            return b'{"predictions":{' + written + b"}" + _fields(self._origin()) + b"}"
        if server in self.cold:
            reason = {"error": NoForecast.INSUFFICIENT_DATA, "message": self.cold[server]}
            return _serialise({**reason, "predictions": {}, **self._origin()})
        return None

    # --- parts of the JSON: head, entries, tail ---

    def head(self) -> bytes:
        """Up to the first server."""
        reason = {"error": self.error, "message": self.message} if self.error else {}
        return _serialise({**reason, "predictions": {}})[:-2]

    def entries(self, rows: IntArray | None = None, detail: Detail = EVERYTHING) -> Iterator[bytes]:
        """Those of these rows, or of all."""
        if self.columns is not None:
            for written in write_in_pieces(self.columns, rows, detail=detail):
                yield written.text

    def tail(self, *, whole: bool = True, **more: Any) -> bytes:
        """What follows the last server. whole: with the state of the fleet. more: further fields, at the end."""
        state = {} if self.fleet is None or not whole else msgspec.structs.asdict(self.fleet)
        return b"}" + _fields({**state, **self._origin(), **more}) + b"}"

    def _origin(self) -> dict[str, Metadata]:
        return {} if self.metadata is None else {"metadata": self.metadata}

    def _render(self) -> Rendered:
        """BytesIO grows without copying and hands its buffer out as it is, which joining the pieces would not."""
        out, ends = BytesIO(), []
        out.write(self.head())
        begin = out.tell()
        if self.columns is not None:
            for written in write_in_pieces(self.columns, detail=EVERYTHING):
                ends.append(written.ends + out.tell())
                out.write(written.text)
        out.write(self.tail())
        body = out.getvalue()
        compressed = gzip.compress(body, GZIP_LEVEL, mtime=0)
        return Rendered(body, compressed, begin, np.concatenate(ends) if ends else np.empty(0, dtype=np.int64))


@cache
def explain_no_model() -> Answer:
    """The answer while no model is live."""
    return Answer(
        columns=None,
        metadata=None,
        model=None,
        error=NoForecast.NO_MODEL,
        message="No model is live yet: train one, or drop a complete tft_model_* directory into the models directory.",
    )


def mark_stale(answer: Answer) -> Answer:
    """The same answer, saying that it was not made from the newest window by the live model."""
    if answer.stale or answer.error or answer.metadata is None:
        return answer
    return replace(answer, metadata=msgspec.structs.replace(answer.metadata, stale=True))


def age_answer(answer: Answer, age: Mapping[str, Any], *, verdicts: Annotations | None = None) -> Answer:
    """The same answer with the age that its data have now. verdicts: what holds of it now, in place of what did."""
    if answer.metadata is None:
        return answer
    stale = answer.stale or bool(age.get("stale"))
    metadata = msgspec.structs.replace(answer.metadata, **{**age, "stale": stale})
    if verdicts is None or answer.columns is None:
        return replace(answer, metadata=metadata)
    columns = replace(answer.columns, verdicts=verdicts.verdicts)
    return replace(answer, columns=columns, metadata=metadata, fleet=verdicts.fleet)


def _serialise(tree: Any) -> bytes:
    """JSON: Structs as msgspec writes them."""
    return orjson.dumps(tree, default=msgspec.to_builtins)


def _fields(tree: Mapping[str, Any]) -> bytes:
    """The fields of an object, each behind a comma."""
    return b"," + _serialise(tree)[1:-1] if tree else b""
