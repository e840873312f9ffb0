"""Requests become batches: columns are checked one by one, the good rows are one Batch, the others are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np

from nordiq_watch.api.sources import Drop
from nordiq_watch.batches import keep_rows, select_rows
from nordiq_watch.ingest.columns import Coded, Columns
from nordiq_watch.ingest.feed_scanner import FeedScanner, load_scanner
from nordiq_watch.ingest.fields import show
from nordiq_watch.ingest.record_labels import code_labels, gather_labels
from nordiq_watch.ingest.rows import MAX_NAMED, Rejection, Rows, Schema
from nordiq_watch.ingest.sample_checks import (
    FeedRules,
    Grid,
    RowChecks,
    SoundNames,
    check_values,
    encode_status,
    find_label_fault,
    refuse_old,
)
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray
from nordiq_watch.records.samples import Batch
from nordiq_watch.records.servers import GivenLabels


@dataclass(frozen=True, slots=True)
class ParsedFeed:
    """What one request held.

    batch: the valid records, in order of arrival; None if there is none. indices[i] is the position in the request of
    the batch's row i. clipped: percentages a little outside that are kept as 0 or 100, `clipped_below` of them as 0.
    unknown_fields: ignored, sorted, at most MAX_UNKNOWN_FIELDS of them. rejected: in order, at most MAX_NAMED; there
    are `unnamed` more, `not_looked_at` among them. causes: how many are rejected for which reason, and clipped.
    newest: of the samples' times, Unix time; None without any. values_left_out: impossible values of records that were
    kept without them; they are in `rejected`, too. labels: of the
    kept records, one of each server. clipped_example: of one that was clipped, in words; empty without any.
    """

    batch: Batch | None
    received: int
    rejected: tuple[Rejection, ...]
    clipped: int
    unknown_fields: tuple[str, ...]
    indices: Sequence[int] = ()
    unnamed: int = 0
    not_looked_at: int = 0
    causes: Mapping[Drop, int] = field(default_factory=dict)
    newest: float | None = None
    clipped_below: int = 0
    values_left_out: int = 0
    labels: tuple[GivenLabels, ...] = ()
    clipped_example: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was read of a request. columns: the rows of the right types; None without any. The others as in Rows."""

    columns: Columns | None
    received: int
    rejected: Sequence[Rejection] = ()
    unknown_fields: tuple[str, ...] = ()
    unnamed: int = 0
    not_looked_at: int = 0
    left_out: Sequence[Rejection] = ()
    left_out_unnamed: int = 0


class FeedReader:
    """Reads requests with samples of one list of metrics. From any thread.

    It learns from them which names are good and which fields to read over; forgetting that costs time only.
    """

    def __init__(self, metrics: tuple[str, ...], *, scans: bool = True) -> None:
        """scans: with the native scanner, where there is one."""
        self.schema = Schema(metrics)
        libraries = load_scanner() if scans else None
        self._scanner = None if libraries is None else FeedScanner(metrics, libraries)
        self._sound_names = SoundNames()

    def read(self, body: bytes, rules: FeedRules, *, now: float) -> ParsedFeed:
        """The samples in a request's body. `now` is Unix time. RequestError if the body as a whole cannot be read."""
        columns = None if self._scanner is None else self._scanner.scan(body, most=rules.max_records)
        if columns is not None:
            return self.judge(Sent(columns, len(columns.indices)), rules, now=now)
        return self.check(self.schema.read(body, most=rules.max_records), rules, now=now)

    def check(self, rows: Rows, rules: FeedRules, *, now: float) -> ParsedFeed:
        """The rows that keep the rules, as one batch, and why the others are not in it. `now` is Unix time."""
        records = rows.records
        columns = Columns(
            indices=rows.indices,
            names=[record.server_name for record in records],
            timestamps=Coded.of(record.timestamp for record in records),
            statuses=Coded.of(record.status for record in records),
            profiles=Coded.of(record.profile for record in records),
            values=self.schema.values_of(records),
            labels=code_labels(records),
        )
        sent = Sent(
            columns, rows.received, rows.rejected, rows.unknown_fields, rows.unnamed, rows.not_looked_at,
            rows.left_out, rows.left_out_unnamed,
        )  # fmt: skip
        return self.judge(sent, rules, now=now)

    def judge(self, sent: Sent, rules: FeedRules, *, now: float) -> ParsedFeed:
        """As `check`, of columns."""
        checks = RowChecks(() if sent.columns is None else sent.columns.indices)
        grid, kept = Grid(rules, now), None
        if sent.columns is not None:
            kept = self._check_columns(checks, sent.columns, rules, grid, now=now).select(checks.keep)
        rejected = (*sent.rejected, *checks.rejected)
        indices = () if kept is None else tuple(kept.indices)
        left_out, more_left_out = _join_left_out(sent, checks, indices)
        named, unnamed = _name((*rejected, *left_out), sent.unnamed + sum(more_left_out.values()))
        below, above = (0, 0) if kept is None else kept.clips.sum(axis=0).tolist()
        return ParsedFeed(
            batch=None if kept is None else kept.build_batch(),
            received=sent.received,
            rejected=named,
            clipped=below + above,
            unknown_fields=sent.unknown_fields,
            indices=indices,
            unnamed=unnamed,
            not_looked_at=sent.not_looked_at,
            causes=_count_causes((*rejected, *left_out), more_left_out, unnamed=sent.unnamed, clipped=below + above),
            newest=grid.newest,
            clipped_below=below,
            values_left_out=len(left_out) + sum(more_left_out.values()),
            labels=tuple(checks.labels),
            clipped_example=_describe_clipped(kept),
        )

    def _check_columns(self, checks: RowChecks, sent: Columns, rules: FeedRules, grid: Grid, *, now: float) -> _Judged:
        """All rows, the refused ones too; a value of these may be meaningless."""
        names = self._sound_names.check(checks, sent.names)
        moments = checks.encode("timestamp", sent.timestamps, grid.place)
        slots, offsets = np.divmod(moments, rules.interval_seconds * 1000)
        statuses = checks.encode("status", sent.statuses, encode_status)
        checks.refuse_faulty("profile", sent.profiles, find_label_fault)
        refuse_old(checks, slots, rules, now=now)
        values, clips = sent.sound or check_values(checks, sent.values, rules.metrics)
        checks.labels, faults = gather_labels(sent.labels, names, moments, checks.keep)
        checks.leave_out_all(faults, cause=Drop.BAD_LABEL)
        return _Judged(
            sent.indices, names, sent.profiles,
            slots=slots, offsets=offsets, statuses=statuses, values=values, clips=clips,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Rows as columns. indices: their positions in the request. offsets (rows,): ms from the slot's begin.

    values (rows, metrics); clips (rows, 2): how many of a row's values were raised to the least, reduced to the most.
    """

    indices: Sequence[int] = field(kw_only=False)
    names: Sequence[str] = field(kw_only=False)
    profiles: Coded = field(kw_only=False)
    slots: IntArray
    offsets: IntArray
    statuses: IntArray
    values: FloatArray
    clips: IntArray

    def select(self, keep: BoolArray) -> _Judged:
        """The rows where `keep` is true."""
        if keep.all():
            return self
        return _Judged(
            list(compress(self.indices, keep)),
            list(compress(self.names, keep)),
            Coded(self.profiles.values, self.profiles.codes[keep]),
            slots=self.slots[keep],
            offsets=self.offsets[keep],
            statuses=self.statuses[keep],
            values=self.values[keep],
            clips=self.clips[keep],
        )

    def build_batch(self) -> Batch | None:
        """One batch server per name, with its newest profile; None without rows."""
        if not self.names:
            return None
        servers = tuple(dict.fromkeys(self.names))
        if len(servers) == len(self.names):
            rows = np.arange(len(self.names))
        else:
            row_of = {name: row for row, name in enumerate(servers)}
            rows = np.fromiter(map(row_of.__getitem__, self.names), np.int64, len(self.names))
        return Batch(
            servers=servers,
            profiles=self._newest_profiles(servers) if any(self.profiles.values) else (None,) * len(servers),
            rows=rows,
            slots=self.slots,
            statuses=self.statuses.astype(np.uint8),
            values=self.values,
            offsets=self.offsets,
        )

    def _newest_profiles(self, servers: Sequence[str]) -> tuple[str | None, ...]:
        """Of each server the profile given with the newest sample; of one moment, the last."""
        order = np.lexsort((self.offsets, self.slots)).tolist()
        profiles = self.profiles.expand()
        given = {self.names[row]: profiles[row] for row in order if profiles[row]}
        return tuple(map(given.get, servers))


def _describe_clipped(kept: _Judged | None) -> str:
    if kept is None or not kept.clips.any():
        return ""
    row = int(kept.clips.any(axis=1).argmax())
    return f"a percentage of {kept.names[row]} is a little {'above 100' if kept.clips[row, 1] else 'below 0'}"


def count_clipped(feed: ParsedFeed, count: int, *, below: int, example: str = "") -> ParsedFeed:
    """The feed, with `count` more values that were kept as the least or the greatest that their metric can be; `below`
    of them as the least.
    """
    if not count:
        return feed
    causes = {**feed.causes, Drop.CLIPPED: feed.causes.get(Drop.CLIPPED, 0) + count}
    return replace(
        feed,
        clipped=feed.clipped + count,
        clipped_below=feed.clipped_below + below,
        causes=causes,
        clipped_example=feed.clipped_example or example,
    )


def reject_servers(feed: ParsedFeed, servers: Collection[str]) -> ParsedFeed:
    """The feed after the window had no room for `servers`: their records move from the batch to `rejected`."""
    if feed.batch is None or not servers:
        return feed
    keep = keep_rows(feed.batch, without=servers)
    full = tuple(
        Rejection(
            index,
            "server_name",
            f"is {show(feed.batch.servers[row])}, a new server, but the window is full and every server in "
            "it is heard: raise window.max_servers",
            Drop.NO_ROOM,
        )
        for index, row in compress(zip(feed.indices, feed.batch.rows, strict=True), ~keep)
    )
    named, unnamed = _name((*feed.rejected, *full), feed.unnamed)
    return replace(
        feed,
        batch=select_rows(feed.batch, keep),
        rejected=named,
        indices=tuple(compress(feed.indices, keep)),
        unnamed=unnamed,
        causes={**feed.causes, Drop.NO_ROOM: len(full)},
    )


def _name(rejections: Sequence[Rejection], unnamed: int) -> tuple[tuple[Rejection, ...], int]:
    """In order, those that an answer names, and how many it does not."""
    named = tuple(sorted(rejections, key=lambda rejection: rejection.index)[:MAX_NAMED])
    return named, unnamed + len(rejections) - len(named)


def _join_left_out(
    sent: Sent, checks: RowChecks, kept: Sequence[int]
) -> tuple[tuple[Rejection, ...], Mapping[Drop, int]]:
    """The values that the kept records, given by their positions, are without; and how many more are not named."""
    if not (sent.left_out or checks.left_out):
        return (), {}
    indices = frozenset(kept)
    of_kept = (one for one in sent.left_out if one.index in indices)
    return (*of_kept, *checks.left_out), {
        Drop.NOT_A_NUMBER: sent.left_out_unnamed,
        Drop.OUT_OF_RANGE: checks.left_out_unnamed,
    }


def _count_causes(
    rejected: Sequence[Rejection], more: Mapping[Drop, int], *, unnamed: int, clipped: int
) -> Mapping[Drop, int]:
    """more: not in `rejected`. unnamed: of records that were refused before, for reasons that were not kept."""
    if not (rejected or unnamed or clipped):
        return {}
    causes = Counter(rejection.cause for rejection in rejected)
    causes.update(more)
    causes.update({Drop.INVALID: unnamed, Drop.CLIPPED: clipped})
    return causes
