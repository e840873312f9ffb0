from __future__ import annotations

import pytest
from support.translators import Clock

from nordiq_watch.config.schema import FeederSettings, RelabelRule
from nordiq_watch.ingest.formats.server_names import Cause, Identity, ServerNames


def names(*, label: str = "instance", clock: Clock | None = None, **feeders: object) -> ServerNames:
    settings = FeederSettings(**feeders)  # type: ignore[arg-type]
    return ServerNames(section="feeders.test", server_label=label, feeders=settings, clock=clock or Clock())


def one(known: ServerNames, **labels: str) -> Identity:
    identity = known.identify({"__name__": "node_load1", **labels})
    assert identity is not None
    return identity


@pytest.mark.parametrize("label", ["replica", "prometheus_replica", "__replica__", "job"])
def test_replicas_and_jobs_do_not_tell_series_apart(label: str) -> None:
    known = names()
    base = one(known, instance="web1:9100")
    assert one(known, instance="web1:9100", **{label: "a"}) == base == one(known, instance="web1:9100", **{label: "b"})
    apart = names(replica_labels=())
    assert one(apart, instance="web1:9100", **{label: "a"}) != one(apart, instance="web1:9100", **{label: "b"})


def test_all_spellings_of_one_target_are_one_series_and_other_ports_are_others() -> None:
    known = names()
    base = one(known, instance="web1:9100")
    assert one(known, instance="http://web1:9100/metrics") == one(known, instance=" web1.:9100") == base
    other = one(known, instance="web1:9101")
    assert (other.server, other.key == base.key) == ("web1", False)
    assert one(known, instance="web1:9100", cpu="0").key != base.key


@pytest.mark.parametrize("label", ["localhost:9100", "127.0.0.1", ":9100"])
def test_loopback_is_left_out_and_said_once_an_hour(label: str, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    known = names(clock=clock)
    for _ in range(3):
        assert known.identify({"instance": label}) is None
        (left_out,) = known.take_left_out()
        assert (left_out.cause, left_out.count) == (Cause.LOOPBACK, 1)
        for setting in (
            "relabel_configs",
            "external_labels",
            "feeders.test.server_label",
            "feeders.relabel",
            repr(label),
        ):
            assert setting in left_out.reason
    assert [line.split(",")[0] for line in caplog.messages] == ["feeders.test: 1 series are left out"]
    clock.now += 3600
    known.identify({"instance": label})
    known.take_left_out()
    assert caplog.messages[-1].startswith("feeders.test: 3 series are left out")
    assert known.left_out[Cause.LOOPBACK] == 4
    assert known.take_left_out() == ()


def test_a_series_without_the_label_is_told_which_one(caplog: pytest.LogCaptureFixture) -> None:
    known = names(label="nodename")
    assert known.identify({"instance": "web1"}) is None
    (left_out,) = known.take_left_out()
    assert left_out.cause is Cause.NAMELESS
    assert "label nodename" in left_out.reason
    assert "feeders.test.server_label" in caplog.text


def test_a_rule_may_say_which_cluster_a_server_is_in() -> None:
    known = names(relabel=(RelabelRule(source_labels=("zone",), regex="(..)-.*", target_label="cluster"),))
    assert one(known, instance="web1", zone="eu-1").server == "web1"
    assert one(known, instance="web1", zone="us-1").server == "web1@us"


def test_a_rule_names_the_server_and_what_it_drops_is_counted_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = (
        RelabelRule(source_labels=("environment",), regex="test", action="drop"),
        RelabelRule(source_labels=("node",), regex="(.+)"),
    )
    known = names(relabel=rules)
    assert one(known, instance="localhost:9100", node="n1 ").server == "n1"
    assert one(known, instance="web1:9100").server == "web1"
    assert known.identify({"instance": "web1", "environment": "test"}) is None
    assert known.identify({"instance": "web1", "node": "localhost"}) is None
    assert [left_out.cause for left_out in known.take_left_out()] == [Cause.RELABEL, Cause.LOOPBACK]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
