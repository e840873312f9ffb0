"""The answers to samples, whatever route they came by. What there is nothing to say about is left out."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from nordiq_watch.api.enums import FeedStatus


class Rejection(Struct, frozen=True):
    """A record that was not taken, or the value of a metric that a record was taken without: the record's place in the
    list that was sent, and what is wrong with which field.
    """

    index: int
    field: str
    reason: str


class Remarks(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the sender should look at.

    rejected: records that were not taken, and values that records were taken without. rejected_unnamed: more of
    them than are named. not_looked_at: those of them that were not read any more. clipped: percentages a little
    above 100 or below 0 that were kept as these; clipped_below: those of them that were below 0. unknown_fields:
    names of fields that the daemon does not know. servers_refused: new servers that the window has no room for.
    series_refused: new series of a collector that there is no room for. series_left_out: series whose labels name
    no server; left_out_reasons: why, with an example and the setting that helps. passed_over: series or metrics
    that cannot be read, or have too many labels; passed_over_reason: what is wrong with the first. series_unknown:
    series that no rule knows; unknown_examples: names of some, where no rule knows any of them. values_left_out:
    samples of series, or values of metrics, that cannot be right or came too late; values_left_out_reason: what is
    wrong with one of them.
    """

    rejected: tuple[Rejection, ...] = ()
    rejected_unnamed: int = 0
    not_looked_at: int = 0
    clipped: int = 0
    clipped_below: int = 0
    unknown_fields: tuple[str, ...] = ()
    servers_refused: int = 0
    series_refused: int = 0
    series_left_out: int = 0
    left_out_reasons: tuple[str, ...] = ()
    passed_over: int = 0
    passed_over_reason: str | None = None
    series_unknown: int = 0
    unknown_examples: tuple[str, ...] = ()
    values_left_out: int = 0
    values_left_out_reason: str | None = None


class Fed(Remarks, frozen=True, omit_defaults=True):
    """A batch was taken, and is durable; or it was empty, for the reason given.

    tick: batches accepted. window_size: samples in the window, over all servers. progress: of the warm-up, in percent,
    with a message, while no server is ready. newest_sample_age_seconds: how old the newest sample of the batch was when
    it was taken.
    """

    status: FeedStatus
    reason: str | None = None
    records_received: int = 0
    tick: int | None = None
    window_size: int | None = None
    servers_tracked: int | None = None
    servers_ready: int | None = None
    warmup_complete: bool | None = None
    progress: float | None = None
    message: str | None = None
    newest_sample_age_seconds: float | None = None


class NothingTaken(Remarks, frozen=True, omit_defaults=True):
    """There were records, and none was taken."""

    error: str
    detail: str
    records_received: int


class Dropped(Struct, frozen=True):
    """A batch that can never be taken, answered with 200, because its sender would repeat it for ever otherwise."""

    status: Literal["dropped"]
    error: str
    detail: str
