"""Conditions that a Prometheus applies itself leave out no series that a rule wants."""

from __future__ import annotations

import pytest

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.importing.prometheus_selectors import common_matchers
from nordiq_watch.ingest.formats.exporters import PROMETHEUS
from nordiq_watch.ingest.formats.series_rules import RuleTable, build_rules, list_rules


def asked_for(name: str, table: RuleTable = PROMETHEUS) -> str:
    return common_matchers(build_rules(list_rules(table, list(table)), "test", {}), name)


@pytest.mark.parametrize(
    ("name", "matchers"),
    [
        ("node_cpu_seconds_total", ""),
        ("node_filesystem_avail_bytes", 'mountpoint="/"'),
        ("node_network_receive_bytes_total", 'device!="lo"'),
        ("net_bytes_recv", 'interface!~"lo|all"'),
        ("cpu_usage_user", 'cpu="cpu-total"'),
        ("no_rule_knows_this", ""),
    ],
)
def test_of_the_known_names_what_all_their_rules_want_is_asked_for(name: str, matchers: str) -> None:
    assert asked_for(name) == matchers


@pytest.mark.parametrize(
    ("value", "of", "matchers"),
    [
        ('a{b="1",c="2"}', 'a{c="2"}', 'c="2"'),
        ('a{b="1"}', 'a{b!="1"}', ""),
        ('a{b=~"x.*"}', None, ""),
        ('a{b=~"x|y"}', None, 'b=~"x|y"'),
        ('a{b=~"x y"}', None, ""),
        ('a{b="/mnt/a b.c"}', None, 'b="/mnt/a b.c"'),
        ('a{b="x\\"y"}', None, ""),
        ('a{b=""}', None, 'b=""'),
        ('{b="1"}', "a", ""),
        ('{b="1"}', "other", 'b="1"'),
    ],
)
def test_what_one_selector_does_not_want_is_asked_for_all_the_same(value: str, of: str | None, matchers: str) -> None:
    assert asked_for("a", {"load_average": SeriesRule(value=value, of=of)}) == matchers
