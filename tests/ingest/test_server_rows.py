"""Rows of servers, through the window that holds them."""

from __future__ import annotations

from support.batches import Sample, make_batch
from support.slow_window import Cell
from support.windows import SILENT_SLOTS, make_window, shown


def test_the_profile_is_the_last_one_given_else_that_of_the_name() -> None:
    window = make_window()
    window.apply(make_batch([Sample("ppdb001", 0), Sample("ppml001", 0, profile="Batch"), Sample("x", 0)]))
    window.apply(make_batch([Sample("ppml001", 1), Sample("x", 1)]))
    assert window.snapshot().profiles == ("Database", "Batch", "Generic")


def test_a_row_is_used_again_without_a_trace_of_the_server_before() -> None:
    window = make_window(max_servers=1)
    window.apply(make_batch([Sample("a", 0, {"cpu_user_pct": 5.0}, status=3, profile="Old")]))
    assert window.apply(make_batch([Sample("b", SILENT_SLOTS)])) == ("b",)
    assert window.apply(make_batch([Sample("b", SILENT_SLOTS + 1, {"mem_used_pct": 7.0})])) == ()
    snapshot = window.snapshot()
    assert (snapshot.servers, snapshot.profiles) == (("b",), ("Generic",))
    assert shown(snapshot)["b"][1] == {SILENT_SLOTS + 1: Cell({"mem_used_pct": 7.0})}


def test_the_server_silent_longest_leaves_first_and_never_one_that_is_heard() -> None:
    window = make_window(max_servers=3)
    window.apply(make_batch([Sample("lasting", 0), Sample("early", 0), Sample("late", 1)]))
    window.apply(make_batch([Sample("lasting", SILENT_SLOTS + 2)]))
    assert window.apply(make_batch([Sample("new1", SILENT_SLOTS + 2)])) == ()
    assert [name for name in ("lasting", "early", "late", "new1") if window.tracks(name)] == ["lasting", "late", "new1"]
    crowd = [Sample(f"made-up{number}", SILENT_SLOTS + 2) for number in range(50)]
    assert len(window.apply(make_batch(crowd))) == 49
    assert window.tracks("lasting")
    assert window.tracks("new1")
    assert not window.tracks("late")
    assert window.is_full


def test_a_late_sample_of_a_new_name_replaces_no_server_that_was_heard_after_it() -> None:
    window = make_window(max_servers=2)
    window.apply(make_batch([Sample("a", 10), Sample("b", 13)]))
    assert window.apply(make_batch([Sample("late", 10)])) == ("late",)
    assert window.apply(make_batch([Sample("late", 11)])) == ()
    assert not window.tracks("a")
