from __future__ import annotations

import re

import pytest

from nordiq_watch.config.schema import RelabelRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.ingest.formats.relabel import Relabelled, Relabelling

LABELS = {"instance": "web1.example.net:9100", "node": "n1", "job": "node"}


def server_of(*rules: RelabelRule, **labels: str) -> str | None:
    found = Relabelling(rules).apply({**LABELS, **labels})
    assert found is not None
    return found.server


@pytest.mark.parametrize(
    ("rule", "server"),
    [
        (RelabelRule(source_labels=("node",)), "n1"),
        (RelabelRule(source_labels=("node",), regex="(n)"), None),  # the whole text must match
        (RelabelRule(source_labels=("gone",), regex="(.+)"), None),
        (RelabelRule(source_labels=("gone",)), None),
        (RelabelRule(source_labels=("node", "job"), regex="(.+);(.+)", replacement="${2}_$1"), "node_n1"),
        (RelabelRule(source_labels=("node", "job"), separator="/"), "n1/node"),
        (RelabelRule(source_labels=("instance",), regex="(?P<host>[^.]+).*", replacement="${host}-$$"), "web1-$"),
        (RelabelRule(source_labels=("instance",)), "web1.example.net:9100"),
        (RelabelRule(replacement="fixed"), "fixed"),
        (RelabelRule(source_labels=("node",), regex="(n1)|(n2)", replacement="$1$2"), "n1"),
    ],
)
def test_a_rule_names_the_server_as_in_prometheus(rule: RelabelRule, server: str | None) -> None:
    assert server_of(rule) == server


def test_rules_are_applied_in_their_order_and_the_last_that_matches_wins() -> None:
    first = RelabelRule(source_labels=("node",), target_label="host", replacement="$1.example.net")
    second = RelabelRule(source_labels=("host",))
    third = RelabelRule(source_labels=("job",), regex="(windows)")
    assert server_of(first, second, third) == "n1.example.net"
    assert server_of(second, first) is None
    assert server_of(second, RelabelRule(replacement=""), host="web1") is None, "an empty name is none"


def test_a_label_that_is_called_server_name_already_names_no_server() -> None:
    assert server_of(RelabelRule(source_labels=("node",), regex="(x)"), server_name="theirs") is None
    assert server_of(RelabelRule(source_labels=("server_name",)), server_name="theirs") == "theirs"


def test_series_are_dropped_and_kept() -> None:
    drop = Relabelling([RelabelRule(source_labels=("job",), regex="no.*", action="drop")])
    keep = Relabelling([RelabelRule(source_labels=("job",), regex="no.*", action="keep")])
    assert (drop.apply(LABELS), keep.apply({"job": "mysql"})) == (None, None)
    assert drop.apply({"job": "mysql"}) == Relabelled({"job": "mysql"}, None)
    assert keep.apply(LABELS) == Relabelled(LABELS, None)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (RelabelRule(regex="(web"), "feeders.relabel[0].regex: '(web' is no regular expression"),
        (RelabelRule(regex="(?<=x)y"), "RE2"),
        (RelabelRule(regex=r"(a)\1"), "RE2"),
        (RelabelRule(replacement="$2"), "feeders.relabel[0].replacement: '$2' names the group '2'"),
        (RelabelRule(replacement="$1x"), "write ${1}"),
        (RelabelRule(replacement="${host}"), "'host'"),
        (RelabelRule(replacement="cost: 5 $"), "write $$"),
        (RelabelRule(action="drop"), "needs source_labels"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_one_line(
    rule: RelabelRule, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        Relabelling([rule])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_no_text_makes_a_pattern_slow() -> None:
    """With a pattern that tries all ways, this text would take longer than the universe has."""
    rules = Relabelling([RelabelRule(source_labels=("instance",), regex="(a+)+")])
    assert rules.apply({"instance": "a" * 50_000 + "!"}) == Relabelled({"instance": "a" * 50_000 + "!"}, None)
