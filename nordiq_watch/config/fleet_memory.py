"""How much memory a fleet takes in the daemon, by its config: for `nordiq-watch doctor` and `window.max_servers: auto`.

It is reckoned for models such as `training` would make: all metrics forecast, `max_prediction_length` steps, p10, p50
and p90. benchmarks/million.py measures what it really is.
"""

from __future__ import annotations

from nordiq_watch.config.schema import Config

AUTO = "auto"

AUTO_SHARE = 0.7
"""Of the free memory, for `auto`: the rest is for models, requests and other programs."""

_BASE_BYTES = 600_000_000
"""Python, torch and an empty fleet."""

_NUMBER = 4  # float32
_OPEN_SHARE = 3
"""The samples of open slots take at most this part of the window's values: `ingest.lateness.SHARE`."""
_QUANTILES = 3
_NAMED_BYTES = 600
"""Per server: its name, and where it stands in tables by name."""

_ROOM = 1.3
"""For what is computed in between, and memory that is freed late: with 100,000 servers it was 1.28 at the peak."""

COPIED_SERVERS = 20_000
"""Of a larger fleet, window and values are not copied for a forecast; see `ingest.ring_views` and `raw_quantiles`."""

_PAST_FORECASTS, _PAST_NUMBER, _PAST_NAME = 4, 2, 100
"""What was forecast before, for the console: how many, in float16, and per server a place by its name. Of a larger
fleet than COPIED_SERVERS it is a sample of that many servers.
"""

_CHANGED_SLOTS = 3
"""Of such a window, while a forecast is computed or served: two slots begin, and a late sample comes."""

_SHOWN_BYTES = 12
"""Per number of an answer that is written ahead: its text, and that compressed."""


def bytes_per_server(config: Config, servers: int) -> int:
    """Memory of each of this number of servers at the peak of a tick.

    Its row of the window, and its part of the samples of open slots; the bands that are served and, for the next
    answer, all quantiles and bands, of a large fleet in one array (`raw_quantiles`); for each of the two a copy of the
    window that it was made from, of a large fleet of the slots that changed meanwhile, and its text if it is written
    ahead (`answers.render_ahead`). With the window on a GPU as well it is more: there it is copied, and each cell has
    a stamp.
    """
    slots, metrics = config.window.length, len(config.metrics)
    window = slots * (metrics * _NUMBER + 3)  # values; status and number of samples
    window += slots * metrics * _NUMBER // _OPEN_SHARE
    answers = 3 if servers <= COPIED_SERVERS else 2
    copied = slots if servers <= COPIED_SERVERS else min(_CHANGED_SLOTS, slots)
    copy = copied * (metrics * _NUMBER + 1)  # values and status
    numbers = metrics * config.training.max_prediction_length * _QUANTILES
    past = _PAST_FORECASTS * (numbers * _PAST_NUMBER + _PAST_NAME) if servers <= COPIED_SERVERS else 0
    text = numbers * _SHOWN_BYTES if servers <= config.answers.render_ahead else 0
    return int(_ROOM * (window + answers * numbers * _NUMBER + 2 * (copy + text) + past + _NAMED_BYTES))


def needed_bytes(config: Config, servers: int) -> int:
    """Memory of the daemon with this number of servers."""
    return _BASE_BYTES + servers * bytes_per_server(config, servers)


def max_servers(config: Config, *, free_bytes: int) -> int:
    """`window.max_servers` as a number, at least one. free_bytes: of memory, for `auto`."""
    setting = config.window.max_servers
    if isinstance(setting, int):
        return setting
    left = int(AUTO_SHARE * free_bytes - _BASE_BYTES)
    for fewer in sorted({0, config.answers.render_ahead, COPIED_SERVERS}, reverse=True):  # each takes less beyond these
        many = left // bytes_per_server(config, fewer + 1)
        if many > fewer:
            return many
    return 1
