"""The bounds of the HTTP server: what one connection, and all of them together, may use."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.config.schema import ServerSettings

MEGABYTE = 1_000_000

MAX_HEADER_BYTES = 16 * 1024
"""Limit of the request line and all headers together, and thereby of the URL."""

READ_BEYOND_LIMIT = 2
"""Up to this many times `server.max_body_mb` of a refused body are read and discarded, so that its sender can read the
reason: cutting a connection while a body is still arriving loses the answer. Beyond that it is cut.
"""

READ_AT_ONCE = 16 * 1024
"""Bytes per read between requests. Pipelined requests wait until the one before is answered, so this also bounds how
much one connection can have read ahead.
"""

BODY_READ_AT_ONCE = 256 * 1024
"""Bytes of one look at a socket inside a body; waitress' own 8 KB make 500 looks of a body of 10,000 records. Not of a
body in chunks: reading those costs the square of what is looked at."""

SENT_AT_ONCE = 64 * 1024
"""Bytes of an answer that are gathered before any are sent: its headers and a short body then go out together."""

MAX_CONNECTIONS = 500
RESERVED_FILES = 128
"""File handles that connections never take: for journal, archive, models, log and what else the daemon opens."""

_CROWDED = 0.8
"""From this share of the connections on, some are closed to make room for others."""

_BODIES_OF_KNOWN = 8
_BODIES_OF_STRANGERS = 2
"""Largest bodies that may be in memory at the same time, sent with a key and without one."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """connections: taken at most. crowd: with more than these, some make room. known_bytes, stranger_bytes: of bodies
    in memory, that came with a right key and without. discarded_bytes: of a refused body, before its connection is cut.
    unsent_bytes: of all answers that wait for their readers; those that share an answer's bytes count once.
    """

    connections: int
    crowd: int
    known_bytes: int
    stranger_bytes: int
    discarded_bytes: int
    unsent_bytes: int = 512 * MEGABYTE


def find_bounds(settings: ServerSettings, *, files: int) -> Bounds:
    """For a process that may have `files` open at the same time."""
    connections = max(8, min(MAX_CONNECTIONS, files - RESERVED_FILES))
    largest = int(settings.max_body_mb * MEGABYTE)
    return Bounds(
        connections=connections,
        crowd=int(connections * _CROWDED),
        known_bytes=_BODIES_OF_KNOWN * largest,
        stranger_bytes=_BODIES_OF_STRANGERS * largest,
        discarded_bytes=READ_BEYOND_LIMIT * largest,
    )
