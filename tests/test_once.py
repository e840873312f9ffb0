"""What is made once per run is made once, whoever needs it first, and anew after a failure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import pytest
from support.once import make_once


@pytest.fixture
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of no other test of this run."""
    tmp_path_factory.getbasetemp()  # is made at the first call, which must not be made by two threads
    return f"once-{uuid4().hex}"


def test_two_that_need_it_at_once_get_what_one_made(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    together, made = Barrier(2), []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("made")

    def need(_: int) -> Path:
        together.wait(20)
        return make_once(tmp_path_factory, name, make)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(need, range(2))
    assert first == second
    assert made == [first]
    assert (first / "file").read_text() == "made"


def test_a_failure_is_seen_by_everyone_and_leaves_nothing(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("no room")

    for _ in range(2):
        with pytest.raises(ValueError, match="no room"):
            make_once(tmp_path_factory, name, fail)
    assert list(make_once(tmp_path_factory, name, lambda _: None).iterdir()) == []


def test_the_processes_of_a_run_have_one_folder(
    tmp_path_factory: pytest.TempPathFactory, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path_factory.getbasetemp()
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert make_once(tmp_path_factory, name, lambda _: None).parent == own
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    monkeypatch.setattr(tmp_path_factory, "getbasetemp", lambda: own / "popen-gw1")
    assert make_once(tmp_path_factory, name, lambda _: None).parent == own
