"""A request being read: its headers decide whether its body is admitted, before a byte of it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

from waitress.parser import HTTPRequestParser
from waitress.receiver import FixedStreamReceiver
from waitress.utilities import BadRequest

from nordiq_watch.host.http.proxy import keep_last_value
from nordiq_watch.records.admission import Admission, BodyLeftOut

Admit = Callable[[Mapping[str, str]], Admission]
"""Maps the head of a request, in WSGI's names (REQUEST_METHOD, PATH_INFO, HTTP_X_API_KEY …), to the body it may have.
Called by the thread that serves all connections, so it must not block.
"""

DRAINED_BYTES = 16 * 1024
"""A refused body up to this length is read and discarded, so that its connection can be kept."""

_MAX_CHUNK_LINE = 4 * 1024
"""Limit for the line before a chunk and for the trailer; waitress bounds neither."""


class Request(HTTPRequestParser):  # type: ignore[misc]  # waitress ships no types
    """One request. Without `admit`, bodies are only limited by `max_request_body_size`.

    left_out: why the body is missing, None if it is there. leaves_rest: further bytes on the connection belong to this
    body or cannot be parsed, so that no further request can be read from it.
    """

    body_rcv: Any
    error: Any

    def __init__(self, adj: Any, *, admit: Admit | None = None) -> None:
        super().__init__(adj)
        self._admit = admit
        self._limit_bytes: int | None = None
        self.is_known = False
        self.left_out: BodyLeftOut | None = None
        self.leaves_rest = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the body in memory."""
        body = self.body_rcv
        return len(body) if body is not None else 0

    @property
    def is_reading_body(self) -> bool:
        return self.body_rcv is not None and not self.completed

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        keep_last_value(self.headers)
        if self.body_rcv is None:
            self.expect_continue = False  # waitress would wait for a body that does not come
        elif self._admit is not None:
            self._ask_admission(self._admit)

    def received(self, data: bytes) -> int:
        consumed: int = super().received(data)
        if self.error is None and self.chunked and self.body_rcv is not None:
            self._check_chunks(self.body_rcv)
        if self.error is not None:
            self._drop_body()
        return consumed

    def leave_out(self, reason: BodyLeftOut) -> None:
        """Completes the request without its body."""
        self.left_out = reason
        self.headers["CONTENT_LENGTH"] = "0"
        self.content_length = 0
        self.completed = True
        self._drop_body()

    def drop_unused(self) -> None:
        """Frees the body of a request that will not be answered. The app must not see the request any more."""
        self.body_rcv = None

    def _drop_body(self) -> None:
        self.body_rcv = None
        self.expect_continue = False
        self.leaves_rest = True

    def _ask_admission(self, admit: Admit) -> None:
        admission = admit(self._head())
        self.is_known = admission.is_known
        self._limit_bytes = admission.max_body_bytes
        if self._limit_bytes > 0 and self.content_length <= self._limit_bytes:
            return
        reason: BodyLeftOut = "too_large" if self._limit_bytes > 0 else "not_allowed"
        if self.chunked or self.expect_continue or self.content_length > DRAINED_BYTES:
            self.leave_out(reason)
        else:
            self.left_out = reason
            self.body_rcv = FixedStreamReceiver(self.content_length, _Nowhere())

    def _head(self) -> dict[str, str]:
        head = {f"HTTP_{name}": value for name, value in self.headers.items()}
        path = "/" + self.path.lstrip("/") if self.path.startswith("/") else self.path  # as waitress tells the app
        return {**head, "REQUEST_METHOD": self.command.upper(), "PATH_INFO": path}

    def _check_chunks(self, body: Any) -> None:
        if self._limit_bytes is not None and len(body) > self._limit_bytes:
            self.leave_out("too_large")
        elif max(len(body.control_line), len(body.trailer)) > _MAX_CHUNK_LINE:
            self.error = BadRequest(f"the line of a chunk, or the trailer, has more than {_MAX_CHUNK_LINE} bytes")
            self.completed = True


class _Nowhere:
    """Buffer for a body that is discarded."""

    def __len__(self) -> int:
        return 0

    def append(self, data: bytes) -> None:
        """Discards the bytes."""

    def getfile(self) -> BytesIO:
        return BytesIO()

    def close(self) -> None:
        """Does nothing."""
