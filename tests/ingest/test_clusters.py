from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.ingest.clusters import SAVE_SECONDS, Clusters


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def settle(clusters: Clusters, known: set[str]) -> set[str]:
    """What the daemon does with the servers that it knows."""
    if not clusters.is_renaming:
        return known
    names = clusters.renames()
    clusters.finish()
    return {names.get(name, name) for name in known}


@given(
    st.lists(st.tuples(st.sampled_from(["web1", "web2", "db"]), st.sampled_from(["a", "b", "c"])), min_size=1),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_names_are_the_same_in_the_end(sent: list[tuple[str, str]], random: object) -> None:
    def names_after(series: list[tuple[str, str]]) -> set[str]:
        clusters, known = Clusters(None), set[str]()
        for host, cluster in series:
            known.add(clusters.name_of(host, cluster))
            known = settle(clusters, known)
        return known

    shuffled = sent.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = {f"{host}@{cluster}" for host, cluster in sent}
    if len({cluster for _, cluster in sent}) == 1:
        expected = {host for host, _ in sent}
    assert names_after(sent) == names_after(shuffled) == expected


def test_until_servers_are_renamed_the_first_cluster_keeps_the_old_names() -> None:
    clusters = Clusters(None)
    assert [clusters.name_of("web1", cluster) for cluster in ("a", "b", "a", "c")] == [
        "web1", "web1@b", "web1", "web1@c",
    ]  # fmt: skip
    assert clusters.name_of("web2", "a") == "web2"
    assert clusters.renames() == {"web1": "web1@a", "web2": "web2@a"}
    clusters.finish()
    assert [clusters.name_of("web1", cluster) for cluster in ("a", "")] == ["web1@a", "web1"]


def test_new_hosts_are_written_now_and_then_and_a_second_cluster_at_once(tmp_path: Path) -> None:
    path, clock = tmp_path / "clusters.json", Clock()
    clusters = Clusters(path, clock=clock)
    for number in range(3):
        clusters.name_of(f"web{number}", "a")
        clusters.save()
    assert Clusters(path).name_of("web0", "b") == "web0@b"
    assert Clusters(path).renames() == {}
    clock.now += SAVE_SECONDS
    assert clusters.save()
    clusters.name_of("web9", "b")
    assert clusters.save()
    again = Clusters(path)
    assert again.is_renaming
    assert again.renames() == {f"web{number}": f"web{number}@a" for number in range(3)}
    again.finish()
    assert Clusters(path).name_of("web7", "a") == "web7@a"


def test_hosts_that_come_and_go_do_not_pile_up() -> None:
    tracked = {"lasting"}
    clusters = Clusters(None, most=10, tracks=tracked.__contains__)
    clusters.name_of("lasting", "a")
    for number in range(1_000):
        clusters.name_of(f"job{number}", "a")
    clusters.name_of("web1", "b")
    assert "lasting" in clusters.renames()
    assert len(clusters.renames()) <= 10


def test_a_file_that_cannot_be_read_or_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "clusters.json"
    path.write_text('{"first": 3}')
    assert Clusters(path).name_of("web1", "a") == "web1"
    assert "cannot be read" in caplog.text
    clusters = Clusters(tmp_path / "gone" / "clusters.json")
    for host in ("web1", "web2"):
        clusters.name_of(host, "a")
        clusters.name_of(host, "b")
        assert not clusters.save()
    assert [line for line in caplog.messages if "cannot be written" in line] == [caplog.messages[-1]]


def test_renaming_waits_for_what_is_on_its_way_and_new_requests_wait_for_it() -> None:
    clusters, order, begun = Clusters(None), list[str](), threading.Event()

    def rename() -> None:
        begun.set()
        with clusters.alone() as alone:
            order.append(f"alone {alone}")

    thread = threading.Thread(target=rename)
    with clusters.naming():
        thread.start()
        assert begun.wait(60)
        order.append("named")
    thread.join(60)
    with clusters.naming():
        order.append("named again")
    assert order == ["named", "alone True", "named again"]
    with clusters.naming(), clusters.alone(patience_seconds=0) as alone:
        assert not alone
