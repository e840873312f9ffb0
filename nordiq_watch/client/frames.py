"""DataFrames on their way to a daemon: as Arrow's stream format, in pieces. pyarrow is imported when one is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from nordiq_watch.api.enums import FeedStatus
from nordiq_watch.api.feed import Fed
from nordiq_watch.errors import ClientError

ROWS_AT_ONCE = 10_000
"""Of one request: about a megabyte with 14 metrics."""


def as_streams(frame: Any, *, rows: int) -> Iterator[tuple[int, bytes]]:
    """(position of the first row, body) of each piece, at least one. ClientError for what Arrow cannot hold."""
    try:
        import pyarrow as pa
    except ImportError:
        raise ClientError("feed_frame needs pyarrow: pip install pyarrow, or use feed(records)") from None
    if frame.index.name == "timestamp" and "timestamp" not in frame.columns:
        frame = frame.reset_index()
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ClientError(f"this DataFrame cannot be sent as Arrow: {' '.join(map(str, error.args))[:200]}") from None
    for first in range(0, max(1, table.num_rows), rows):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.slice(first, rows))
        yield first, sink.getvalue().to_pybytes()


def merge_answers(answers: Sequence[tuple[int, Fed]]) -> Fed:
    """One answer for all pieces of a DataFrame: the state after the last that was taken, and the remarks of all."""
    fed = [answer for _, answer in answers]
    last = [answer for answer in fed if answer.status is not FeedStatus.IGNORED] or fed
    return replace(
        last[-1],
        records_received=sum(answer.records_received for answer in fed),
        rejected=tuple(
            replace(found, index=first + found.index) for first, answer in answers for found in answer.rejected
        ),
        rejected_unnamed=sum(answer.rejected_unnamed for answer in fed),
        not_looked_at=sum(answer.not_looked_at for answer in fed),
        clipped=sum(answer.clipped for answer in fed),
        clipped_below=sum(answer.clipped_below for answer in fed),
        unknown_fields=tuple(sorted({name for answer in fed for name in answer.unknown_fields})),
        values_left_out=sum(answer.values_left_out for answer in fed),
        servers_refused=sum(answer.servers_refused for answer in fed),
    )
