"""`feeders.relabel`: rules that change the labels by which a series is named, as Prometheus' relabel_configs.

Patterns are RE2's, as Prometheus': their time is linear in the text, whatever a sender puts into a label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from nordiq_watch.config.schema import RelabelRule
from nordiq_watch.errors import ConfigError

SERVER_NAME = "server_name"
"""As a target: not a label, but the server's name itself."""

_REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<braced>\w+)\}|)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Relabelled:
    """server: what the rules call it; None if none of them did."""

    labels: Mapping[str, str]
    server: str | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """pieces: of the replacement, texts and the numbers of groups."""

    settings: RelabelRule
    pattern: Any
    pieces: tuple[str | int, ...]

    def match(self, labels: Mapping[str, str]) -> Any:
        text = self.settings.separator.join(labels.get(label, "") for label in self.settings.source_labels)
        return self.pattern.fullmatch(text.encode(errors="replace").decode())

    def expand(self, found: Any) -> str:
        return "".join(piece if isinstance(piece, str) else found.group(piece) or "" for piece in self.pieces)


class Relabelling:
    """ConfigError if a rule cannot be read, naming it and what is wrong."""

    def __init__(self, rules: Sequence[RelabelRule]) -> None:
        self._rules = [_build(number, rule) for number, rule in enumerate(rules)]

    def apply(self, labels: Mapping[str, str]) -> Relabelled | None:
        """The labels after all rules, in their order; None for a series that they drop."""
        if not self._rules:
            return Relabelled(labels, None)
        changed, is_named = dict(labels), False
        for rule in self._rules:
            found = rule.match(changed)
            action = rule.settings.action
            if (action == "drop" and found) or (action == "keep" and not found):
                return None
            if action != "replace" or not found:
                continue
            target, value = rule.settings.target_label, rule.expand(found)
            is_named = bool(value) if target == SERVER_NAME else is_named
            changed[target] = value
            if not value:  # as in Prometheus: an empty label is none
                del changed[target]
        return Relabelled(changed, changed[SERVER_NAME] if is_named else None)


def _build(number: int, rule: RelabelRule) -> _Rule:
    place = f"feeders.relabel[{number}]"
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(rule.regex, options)
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise ConfigError(f"{place}.regex: {rule.regex!r} is no regular expression of RE2's syntax ({why})") from None
    if rule.action != "replace":
        if not rule.source_labels:
            raise ConfigError(f"{place}: {rule.action} needs source_labels, or it would {rule.action} every series")
        return _Rule(rule, pattern, ())
    return _Rule(rule, pattern, tuple(_parse(rule.replacement, pattern, f"{place}.replacement")))


def _parse(template: str, pattern: Any, place: str) -> list[str | int]:
    """$1 and ${1}, $name and ${name}; $$ is a dollar."""
    pieces: list[str | int] = []
    end = 0
    for found in _REFERENCE.finditer(template):
        pieces.append(template[end : found.start()])
        end = found.end()
        name = found["plain"] or found["braced"]
        if name is None:
            if not found["escaped"]:
                raise ConfigError(f"{place}: {template!r} has a $ that names no group; write $$ for a dollar")
            pieces.append("$")
            continue
        group = int(name) if name.isdigit() else pattern.groupindex.get(name, -1)
        if not 0 <= group <= pattern.groups:
            raise ConfigError(
                f"{place}: {template!r} names the group {name!r}, which the pattern does not have; "
                "write ${1} where letters, digits or _ follow"
            )
        pieces.append(group)
    return [*pieces, template[end:]]
