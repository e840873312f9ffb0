"""What of the rules' selectors a Prometheus can apply itself, so that it sends no series that no rule wants."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nordiq_watch.ingest.formats.places import selectors_for
from nordiq_watch.ingest.formats.series import NAME, Matcher
from nordiq_watch.ingest.formats.series_rules import MetricRule

_LITERAL = re.compile(r"(?:[A-Za-z0-9_/:-]|\\[ -/:-@\[-`{-~])*")
_ESCAPED = re.compile(r"\\(.)")


def quoted(text: str) -> str:
    """As in a string of PromQL, without its quotation marks."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def common_matchers(rules: Iterable[MetricRule], name: str) -> str:
    """The conditions on labels beside the name that all selectors for series of this name have, in Prometheus'
    notation; may be empty. Regular expressions that are more than a choice of texts are left to the rules: theirs
    are Python's.
    """
    wanted = [selector.matchers for rule in rules for selector in selectors_for(rule, name)]
    if not wanted:
        return ""
    common = [one for one in wanted[0] if one.label != NAME and all(one in others for others in wanted)]
    return ",".join(sorted(filter(None, map(_write, common))))


def _write(matcher: Matcher) -> str:
    """Empty for one that Prometheus might read otherwise."""
    texts = matcher.pattern.pattern.split("|")
    if not all(map(_LITERAL.fullmatch, texts)):
        return ""
    plain = [_ESCAPED.sub(r"\1", text) for text in texts]
    if len(plain) == 1:
        return f'{matcher.label}{"=" if matcher.wanted else "!="}"{quoted(plain[0])}"'
    return f'{matcher.label}{"=~" if matcher.wanted else "!~"}"{quoted("|".join(texts))}"'
