from __future__ import annotations

from support.stub_daemon import StubDaemon

from nordiq_watch.cli.demo_reader import Reader
from nordiq_watch.client import Client


def answer(version: str) -> tuple[int, dict[str, object]]:
    return 200, {"predictions": {"a": {}}, "metadata": {"model_version": version}}


def test_versions_are_kept_in_order(stub: StubDaemon) -> None:
    stub.answers["GET", "/predictions/current"] = [answer("a"), answer("a"), answer("b")]
    reader = Reader(Client(stub.url, retries=0))
    for _ in range(4):
        reader.read()
    assert reader.versions == ["a", "b"]
    assert reader.requests == 4
    assert reader.failures == []
    assert reader.slowest_seconds > 0


def test_an_error_and_an_empty_answer_are_failures(stub: StubDaemon) -> None:
    empty = (200, {"error": "no_model", "message": "No model is live yet", "predictions": {}})
    stub.answers["GET", "/predictions/current"] = [(500, {"error": "Internal error"}), empty]
    reader = Reader(Client(stub.url, retries=0))
    reader.read()
    reader.read()
    assert reader.failures == ["Internal error (HTTP 500)", "No model is live yet"]


def test_a_daemon_that_is_away_is_a_failure() -> None:
    reader = Reader(Client("http://127.0.0.1:1", retries=0))
    reader.read()
    assert len(reader.failures) == 1


def test_it_reads_by_itself_until_the_block_ends(stub: StubDaemon) -> None:
    stub.answers["GET", "/predictions/current"] = answer("a")
    with Reader(Client(stub.url, retries=0)) as reader:
        while reader.requests < 3:
            pass
    asked = reader.requests
    assert len(stub.requests) == asked >= 3
