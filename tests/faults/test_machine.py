"""What the machine does to a reload: no memory, no file handles, no room on the disk, a disk that answers late."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest
import requests
import yaml
from support.daemon import wait_until
from support.drop_site import SECTIONS, Reader, Site, make_site, warm_fleet
from support.models import METRICS, drop_model, tiny_spec
from support.optional import not_none
from support.yard import Yard

import nordiq_watch.reload.loader as loader_module
from nordiq_watch.artifact.reader import ModelFiles, read_model
from nordiq_watch.config.load import load_settings
from nordiq_watch.daemon import Daemon
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.reload.jobs import LoadVersion, RollBack
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
PATIENCE_SECONDS = 30
TINY_DISK_BYTES = 2 * 2**20


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    (tmp_path / "models").mkdir()
    return Yard(tmp_path / "models", tmp_path / "state")


class TestOutOfMemory:
    @pytest.mark.parametrize(
        ("place", "name"), [(loader_module, "read_model"), (loader_module, "Predictor"), (Predictor, "predict")]
    )
    def test_at_any_stage_the_old_version_goes_on_and_the_new_one_is_tried_again(
        self, yard: Yard, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
    ) -> None:
        yard.drop(A)
        yard.look()

        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        with monkeypatch.context() as patched:
            patched.setattr(place, name, fail)
            yard.drop(B, shift=0.1)
            yard.look()
        assert (yard.live_name, yard.generation, yard.store.current.refusals) == (A, 1, {})
        assert (yard.states()[B], "not enough memory" in yard.reason(B)) == ("available", True)
        yard.pass_time(1.1)
        assert (yard.live_name, yard.generation) == (B, 2)

    def test_a_daemon_that_may_not_grow_answers_on_and_loads_when_it_may(self, tmp_path: Path) -> None:
        with make_site(tmp_path) as site, Reader(site.daemon) as reader:
            made = site.shelf.make(spec=large_spec())
            before = reader.begin()
            half_of_it = (made.path / "model.safetensors").stat().st_size // 2
            with limited(site, resource.RLIMIT_AS, virtual_bytes(site) + half_of_it):
                site.drop(made)
                wait_until(lambda: f"{made.name} was not loaded: memory" in site.daemon.log, what="a word about memory")
                assert site.daemon.state_of(made.name)[0] == "available"
                assert reader.begin() == before
            assert site.go_live(made) == before.generation + 1
        assert reader.failures == []


def large_spec() -> ModelSpec:
    """34 MB of weights: more than malloc takes from what it has."""
    spec = tiny_spec()
    network = msgspec.structs.replace(spec.network, hidden_size=400, attention_head_size=4, hidden_continuous_size=64)
    return msgspec.structs.replace(spec, network=network)


@contextmanager
def limited(site: Site, limit: int, value: int) -> Iterator[None]:
    """The running daemon may have no more than this."""
    assert site.daemon.process is not None
    process = not_none(site.daemon.process).pid
    before = resource.prlimit(process, limit)
    resource.prlimit(process, limit, (value, before[1]))
    yield
    resource.prlimit(process, limit, before)


def virtual_bytes(site: Site) -> int:
    assert site.daemon.process is not None
    pages = Path(f"/proc/{not_none(site.daemon.process).pid}/statm").read_text().split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def number_of_own_handles(site: Site) -> int:
    """A limit of this many leaves no handle to be opened, whoever hangs up meanwhile; those that are open stay.

    These are the first ones, up to the listening socket: logs and databases, open as long as the daemon is.
    """
    assert site.daemon.process is not None
    process = psutil.Process(not_none(site.daemon.process).pid)
    (listener,) = [one.fd for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
    taken = {int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert set(range(listener)) <= taken
    return int(listener)


def test_without_file_handles_it_answers_on_and_loads_when_there_are_some(tmp_path: Path) -> None:
    with make_site(tmp_path, watch={"rescan_seconds": 3600}) as site, Reader(site.daemon) as reader:
        made, before = site.shelf.make(), reader.begin()
        with limited(site, resource.RLIMIT_NOFILE, number_of_own_handles(site)):
            site.drop(made)
            wait_until(lambda: "models/ cannot be listed (Too many open files)" in site.daemon.log, what="a word of it")
            with socket.create_connection(("127.0.0.1", urlsplit(site.daemon.url).port)):
                wait_until(lambda: "no new connection can be taken" in site.daemon.log, what="a word of connections")
                answered = reader.answers
                wait_until(lambda: reader.answers > answered + 10, what="answers on a connection that is open")
                assert site.daemon.log.count("no new connection") == 1
        assert site.go_live(made) == before.generation + 1
        assert reader.failures == []


class TestFullStateDisk:
    def test_what_was_decided_holds_and_is_written_as_soon_as_there_is_room(
        self, yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        yard.drop(A)
        yard.look()
        shelf = tmp_path / "shelf"
        drop_model(shelf, B, shift=0.1)

        def no_room(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr("nordiq_watch.atomic_file.os.fsync", no_room)
            (shelf / B).rename(yard.models_dir / B)
            yard.look()
            assert yard.ask(RollBack()).outcome == "loaded"
            assert yard.ask(LoadVersion(A)).outcome == "unchanged"
            assert (yard.live_name, yard.service.pinned, yard.states()[B]) == (A, A, "quarantined")
            assert "No space left on device" in caplog.text
        yard.drop(C, shift=0.2)
        assert yard.ask(LoadVersion(C)).outcome == "loaded"
        yard.start()
        yard.look()
        assert (yard.live_name, yard.service.pinned, yard.states()[B]) == (C, C, "quarantined")
        assert yard.generation == 5

    def test_reloads_that_cannot_be_written_down_are_remembered_in_memory(
        self, yard: Yard, caplog: pytest.LogCaptureFixture
    ) -> None:
        yard.state_dir.mkdir(exist_ok=True)
        (yard.state_dir / "reloads.jsonl").symlink_to("/dev/full")  # which could be read without end
        yard.start()
        yard.drop(A)
        yard.look()
        assert yard.live_name == A
        assert [record.outcome for record in yard.service.recent(10)] == ["loaded"]
        assert "reloads.jsonl cannot be written (Not a regular file)" in caplog.text

    def test_a_daemon_goes_on_reloading_and_refuses_only_what_it_cannot_keep(self, tmp_path: Path) -> None:
        site = make_site(tmp_path)
        state = site.daemon.root / "state"
        state.mkdir()
        command = f'set -e; mount -t tmpfs -o size={TINY_DISK_BYTES} tmpfs "{state}"; exec "$@"'
        site.daemon.launcher = ("unshare", "--map-root-user", "--mount", "sh", "-c", command, "sh")
        if subprocess.run([*site.daemon.launcher, "true"], check=False, capture_output=True).returncode:
            pytest.skip("this machine allows no mounts in a user namespace")
        with site, Reader(site.daemon) as reader:
            before = reader.begin()
            ballast = Path(f"/proc/{not_none(site.daemon.process).pid}/root{state}/ballast")
            fill(ballast, most_bytes=TINY_DISK_BYTES)
            made = site.shelf.make()
            site.drop(made)
            assert site.go_live(made) == before.generation + 1
            refused = site.daemon.request("POST", "/feed/data", json={"records": warm_fleet()})
            assert (refused.status_code, refused.json()["error"]) == (503, "Storage error")
            ballast.unlink()
            assert site.daemon.feed(warm_fleet())["status"] == "accepted"
            assert reader.failures == []


def fill(path: Path, *, most_bytes: int) -> None:
    """Writes until there is no room left, but never more than fits the disk that is meant."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while file.tell() <= most_bytes:
            file.write(bytes(4096))


class SlowDisk:
    """Reads of models wait until `come_back` is called."""

    def __init__(self) -> None:
        self._back = threading.Event()
        self.asked = threading.Event()

    def read(self, directory: Path, *_: object) -> ModelFiles:
        self.asked.set()
        assert self._back.wait(PATIENCE_SECONDS)
        return read_model(directory)

    def come_back(self) -> None:
        self._back.set()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """In this process, with a live model and a warm fleet."""
    config_file = tmp_path / "config.yaml"
    config_file.write_text(yaml.safe_dump({"server": {"port": 0, "threads": 8}, "metrics": list(METRICS), **SECTIONS}))
    drop_model(tmp_path / "models", A)
    daemon = Daemon(load_settings(config_file, {"NORDIQ_API_KEY": "key"}))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    wait_until(lambda: ask(daemon, "GET", "/ready").status_code == 200, what="the first version to be live")
    assert ask(daemon, "POST", "/feed/data", json={"records": warm_fleet()}).ok
    yield daemon
    daemon.stop()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def ask(daemon: Daemon, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"X-API-Key": "key"}
    return requests.request(method, daemon.http.url + path, headers=headers, timeout=PATIENCE_SECONDS, **options)


def test_while_a_model_is_read_slowly_and_many_wait_for_it_all_others_are_answered(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk()
    monkeypatch.setattr(loader_module, "read_model", disk.read)
    drop_model(tmp_path / "models", B, shift=0.1)
    assert disk.asked.wait(PATIENCE_SECONDS)
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(ask, daemon, "POST", "/admin/reload-model") for _ in range(20)]
        wait_until(lambda: sum(future.done() for future in waiting) >= 16, what="those who cannot wait to be told so")
        for method, path, options in (
            ("GET", "/health", {}),
            ("GET", "/ready", {}),
            ("GET", "/predictions/current", {}),
            ("POST", "/feed/data", {"json": {"records": warm_fleet()}}),
            ("GET", "/admin/reloads", {}),
        ):
            answer = ask(daemon, method, path, **options)
            assert answer.ok
            assert answer.headers.get("X-Model-Version", A) == A
        disk.come_back()
        statuses = sorted(future.result().status_code for future in waiting)
    assert statuses == [200] * 4 + [202] * 16
    assert ask(daemon, "GET", "/admin/model-info").json()["model_name"] == B
    loaded = [one for one in ask(daemon, "GET", "/admin/reloads").json()["reloads"] if one["outcome"] == "loaded"]
    assert len(loaded) == 2
