from __future__ import annotations

import pytest

from nordiq_watch.errors import ConfigError
from nordiq_watch.ingest.formats.mappings import NODE_EXPORTER, TELEGRAF
from nordiq_watch.ingest.formats.series import NAME, parse_selector

LABELS = {NAME: "node_cpu_seconds_total", "mode": "user", "cpu": "0", "odd": 'a"b,}c'}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("node_cpu_seconds_total", True),
        ("node_cpu", False),
        ('node_cpu_seconds_total{mode="user"}', True),
        ('node_cpu_seconds_total{mode="use"}', False),
        ('node_cpu_seconds_total{mode=~"user|nice"}', True),
        ('node_cpu_seconds_total{mode=~"us"}', False),
        ('node_cpu_seconds_total{mode!="idle", cpu=~"[0-9]+"}', True),
        ('node_cpu_seconds_total{mode!~"u.*"}', False),
        ('{__name__=~"node_cpu_.*",mode="user",}', True),
        ('{absent=""}', True),
        ('{absent!=""}', False),
        (r'{odd="a\"b,}c"}', True),
        ('{cpu="."}', False),
    ],
)
def test_a_selector_finds_what_prometheus_would(selector: str, matches: bool) -> None:
    assert parse_selector(selector).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["", "{}", "a b", 'a{b="c"', "a{b=c}", 'a{b=="c"}', 'a{b=~"("}', '{b="c" d="e"}'])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no selector"):
        parse_selector(text)


def test_the_built_in_rules_can_be_read() -> None:
    for rule in (*NODE_EXPORTER.values(), *TELEGRAF.values()):
        parse_selector(rule.value)
