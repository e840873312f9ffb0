from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from nordiq_watch.cli.demo_daemon import Daemon, wait_until
from nordiq_watch.cli.demo_folder import Folder, own, prepare
from nordiq_watch.errors import ClientError

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Iterator[Folder]:
    folder = Folder(tmp_path / "demo")
    with own(folder):
        prepare(folder, port)
        yield folder


def test_it_answers_inside_the_block_and_not_after_it(folder: Folder, port: int) -> None:
    with Daemon(folder, port=port) as daemon:
        daemon.await_answer()
        assert daemon.connect().model_info().loaded is False
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{daemon.url}/health", timeout=5)


def test_settings_from_outside_do_not_change_it(folder: Folder, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORDIQ_SERVER__PORT", str(free_port()))
    with Daemon(folder, port=port) as daemon:
        daemon.await_answer()


def test_a_daemon_that_does_not_start_leaves_its_last_words(folder: Folder, port: int) -> None:
    folder.config.write_text("server: {port: many}")
    words = r"the daemon ended with exit code 1: error: .*server\.port is 'many'"
    with pytest.raises(ClientError, match=words), Daemon(folder, port=port) as daemon:
        daemon.await_answer()


def test_waiting_ends_when_it_holds_or_in_vain() -> None:
    answers = iter([False, True])
    wait_until(lambda: next(answers), 10, what="the second answer")
    with pytest.raises(ClientError, match=r"waited 0 s in vain for the impossible"):
        wait_until(lambda: False, 0, what="the impossible")
