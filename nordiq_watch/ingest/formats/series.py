"""Series: named numbers over time with labels, and the selectors that match them, in Prometheus' notation."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nordiq_watch.api.sources import Drop
from nordiq_watch.errors import ConfigError

NAME = "__name__"

_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(?P<matchers>.*)\})?", re.DOTALL)
_MATCHER = re.compile(r'\s*(?P<label>[a-zA-Z_]\w*)\s*(?P<operator>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:,|$)')


END_MARK: float = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The one NaN by which Prometheus and its kin say that a series ended ("staleness marker")."""


def is_end_mark(value: float) -> bool:
    return value != value and struct.pack("<d", value) == struct.pack("<d", END_MARK)  # NaN alone differs from itself


@dataclass(frozen=True, slots=True)
class Series:
    """labels: including the name, as `__name__`. samples: (Unix seconds, value); END_MARK ends a series.

    starts: of deltas, when the span of each sample began; its value is the growth per second since then.
    """

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]
    starts: Sequence[float] = ()


MAX_LABELS = 100
"""Limit per series. Those with more are skipped: each label costs, and a server's own name is among the first."""


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """The content of one body. series: made one at a time, because all of them are many times the body.

    causes: why series are not read, and how many; `reason` describes the first. samples: number of those in series that
    are read, where a format counts them.
    """

    series: Iterator[Series]
    causes: Mapping[Drop, int] = field(default_factory=dict)
    reason: str = ""
    samples: int = 0

    @property
    def passed_over(self) -> int:
        """Number of series that are not read."""
        return sum(self.causes.values())


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a missing label is the empty text."""

    label: str
    pattern: re.Pattern[str]
    wanted: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        return (self.pattern.fullmatch(labels.get(self.label, "")) is not None) == self.wanted


@dataclass(frozen=True, slots=True)
class Selector:
    matchers: tuple[Matcher, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.matchers)


def parse_selector(text: str) -> Selector:
    """Parses `name{label="value", label!="…", label=~"regex", label!~"regex"}`. ConfigError for anything else."""
    whole = _SELECTOR.fullmatch(text.strip())
    if whole is None or not (whole["name"] or whole["matchers"]):
        raise ConfigError(f'{text!r} is no selector; write name{{label="value", other=~"regex"}}')
    matchers = [Matcher(NAME, re.compile(re.escape(whole["name"])), wanted=True)] if whole["name"] else []
    rest = whole["matchers"] or ""
    while rest.strip():
        found = _MATCHER.match(rest)
        if found is None:
            raise ConfigError(f'{text!r} is no selector: {rest!r} is not label="value", or =~, !=, !~')
        matchers.append(_build_matcher(text, found))
        rest = rest[found.end() :]
    return Selector(tuple(matchers))


def _build_matcher(text: str, found: re.Match[str]) -> Matcher:
    value = re.sub(r"\\(.)", r"\1", found["value"]) if "~" not in found["operator"] else found["value"]
    try:
        pattern = re.compile(value if "~" in found["operator"] else re.escape(value))
    except re.error as error:
        raise ConfigError(f"{text!r} is no selector: {value!r} is no regular expression ({error})") from None
    return Matcher(found["label"], pattern, wanted=not found["operator"].startswith("!"))
