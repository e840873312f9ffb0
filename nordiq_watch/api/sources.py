"""Who feeds the daemon, what it took from each, and what it dropped and why: `GET /feed/sources`."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class FeedFormat(StrEnum):
    """What a feeding route takes. A route that takes two formats has both here."""

    JSON = "json"
    ARROW = "arrow"
    PROMETHEUS = "prometheus"
    TELEGRAF = "telegraf"
    OTLP = "otlp"
    INFLUX = "influx"
    COLLECTD = "collectd"

    @property
    def repeats(self) -> bool:
        """Whether its senders send again what was answered with 503. collectd's write_http buffers nothing."""
        return self is not FeedFormat.COLLECTD

    @property
    def unit(self) -> str:
        """What a batch of it is counted in."""
        return "records" if self in (FeedFormat.JSON, FeedFormat.ARROW) else "series"


class Drop(StrEnum):
    """Why something that was sent is not in the window.

    unknown_series: no rule makes a metric of it. no_server_name: nothing names its server. loopback: its server
    would be called as every machine calls itself. relabelled: `feeders.relabel` leaves it out. bad_name: no server
    can be called so. too_old: older than the window. too_new: ahead of the daemon's clock. not_a_number: a text,
    NaN or infinite where a number must be. out_of_range: more or less than the metric can be. odd_growth: a counter
    that jumped further than it can grow. too_sparse: samples of a counter that lie too far
    apart for a rate, time and again. slot_closed: it came after its slot was closed. overlap: a delta that begins
    within another one of its series, and goes on from none. gap: a delta that goes on from none although its server
    sent some shortly before. first: a delta before which its server sent none. nothing_measured: a record
    without a metric. invalid: another field of a record is missing or has another form. too_many_labels: a series
    with more than 100 of them. bad_label: a label of a server with a name or a value that it cannot have, or one too
    many. unsupported: a kind of data point that becomes no metric, such as a histogram.
    duplicate: it is there already, or comes by another route too, which goes first. no_room: a new server or
    series, and the daemon holds as many as it may; or for want of room a slot was closed early. unreadable: a body
    that is not in the format of its route. too_large: a body with more bytes or records than one may have.
    internal: a fault of the daemon. not_repeated: the daemon could not keep it, and its sender repeats nothing.
    clipped: not dropped, but kept as the greatest or the least that the metric can
    be. doubled: not dropped, but a series that a host has once, and that comes under two values of a label.
    """

    UNKNOWN_SERIES = "unknown_series"
    NO_SERVER_NAME = "no_server_name"
    LOOPBACK = "loopback"
    RELABELLED = "relabelled"
    BAD_NAME = "bad_name"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    ODD_GROWTH = "odd_growth"
    TOO_SPARSE = "too_sparse"
    SLOT_CLOSED = "slot_closed"
    OVERLAP = "overlap"
    GAP = "gap"
    FIRST = "first"
    NOTHING_MEASURED = "nothing_measured"
    INVALID = "invalid"
    TOO_MANY_LABELS = "too_many_labels"
    UNSUPPORTED = "unsupported"
    BAD_LABEL = "bad_label"
    DUPLICATE = "duplicate"
    NO_ROOM = "no_room"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    INTERNAL = "internal"
    NOT_REPEATED = "not_repeated"
    CLIPPED = "clipped"
    DOUBLED = "doubled"


class Dropped(Struct, frozen=True):
    """What was dropped for one reason since the source was first heard. last: ISO 8601. example: of the newest."""

    reason: Drop
    count: int
    last: str
    example: str


class Source(Struct, frozen=True):
    """One sender, told apart by format, key, address and User-Agent.

    key: the id of its key; null on a route without one. batches: that were answered for good. postponed: answered with
    503, to be sent again. received: series or records, as `unit` says; received_per_minute: of the last five minutes.
    taken: samples in the window, each of one server at one time. unknown_names: some of the series that no rule knows.
    newest_sample: time of the newest sample so far. late_seconds: the age of the newest sample of its last batch with
    one, when that came; null without any.
    """

    format: FeedFormat
    key: str | None
    address: str
    user_agent: str
    first_heard: str
    last_heard: str
    batches: int
    postponed: int
    unit: str
    received: int
    received_per_minute: float
    taken: int
    unknown_names: list[str]
    dropped: list[Dropped]
    newest_sample: str | None
    late_seconds: float | None


class Sources(Struct, frozen=True):
    """The senders since the daemon started, the one heard last first. forgotten: more of them than are remembered."""

    since: str
    count: int
    forgotten: int
    sources: list[Source]
