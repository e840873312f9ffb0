"""What a slot of a server is worth by all rules, live and in history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.readings import Said
from nordiq_watch.ingest.formats.series_rules import Evaluation, MetricRule, keep_in_range


def values_of(
    rules: Sequence[MetricRule], evaluation: Evaluation, said: Said, *, name: str
) -> Iterator[tuple[MetricRule, float | None, bool]]:
    """The rules with their values, and whether they wait for more. Behind one that has an answer, those for the
    same metric are left out; an answer that is a share of a whole in part is for when there is no other.

    said: gets what is left out or clipped. name: of the server.
    """
    answered: set[str] = set()
    in_part: dict[str, tuple[MetricRule, float]] = {}
    for rule in rules:
        if rule.metric in answered:
            continue
        value, waits = evaluation.value_of(rule)
        if value is not None:
            value = _keep(rule, value, said, name)
        if value is not None and evaluation.is_in_part:
            in_part.setdefault(rule.metric, (rule, value))
            value = None
        if value is not None:
            answered.add(rule.metric)
        yield rule, value, waits
    yield from ((rule, value, False) for rule, value in in_part.values() if rule.metric not in answered)
    said.losses.add(Drop.ODD_GROWTH, f"a counter of {name} jumped further than it can grow", evaluation.odd)


def _keep(rule: MetricRule, value: float, said: Said, name: str) -> float | None:
    kept, clipped = keep_in_range(rule, value)
    if kept is None:
        said.losses.add(Drop.OUT_OF_RANGE, f"{rule.metric} of {name} would be {value:g}")
    elif clipped:
        said.clipped += 1
        said.clipped_below += kept > value
        said.clipped_example = said.clipped_example or f"{rule.metric} of {name} would be {value:g}"
    return kept
