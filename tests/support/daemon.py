"""The real daemon as a real process, as its user runs it: `python -m nordiq_watch serve`."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from nordiq_watch.config.environment import API_KEY_VARIABLE, environment_without_settings
from support.wire import check_answer

PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""The networks of the tests are tiny: a second thread costs more than it brings, most of all on a busy machine."""


def clean_environment() -> dict[str, str]:
    """The environment without any setting of nordiq_watch, its key included."""
    environ = environment_without_settings() | ONE_THREAD
    environ.pop(API_KEY_VARIABLE, None)
    return environ


def wait_until(holds: Callable[[], Any], *, what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `holds()`; fails the test if there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(_POLL_SECONDS)


def free_port() -> int:
    """A port of this machine's loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class DaemonProcess:
    """Runs in `root` (config.yaml, models/, state/, logs/ and the key lie there), on a free port of this machine."""

    def __init__(self, root: Path, *, metrics: Sequence[str], **settings: Any) -> None:
        self.root = root
        self.metrics = tuple(metrics)
        self.models = root / "models"
        self.models.mkdir(parents=True, exist_ok=True)
        config = {"server": {"port": 0}, "metrics": list(metrics), **settings}
        self.config_file = root / "config.yaml"
        self.config_file.write_text(yaml.safe_dump(config))
        self.launcher: tuple[str, ...] = ()  # a command that execs what stands behind it, such as `nice`
        self.patience_seconds = PATIENCE_SECONDS  # for a start
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._log_begin = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def key(self) -> str:
        """The one on the first line of the key file."""
        return (self.root / ".nordiq_key").read_text().split()[0]

    @property
    def log(self) -> str:
        """What this run of the daemon has logged so far."""
        file = self.root / "logs" / "inference_daemon.log"
        return file.read_text()[self._log_begin :] if file.exists() else ""

    def start(self, **environ: str) -> Self:
        """Returns when it answers."""
        self._log_begin += len(self.log)
        self.process = subprocess.Popen(
            [*self.launcher, sys.executable, "-m", "nordiq_watch", "serve", "--config", str(self.config_file)],
            env=clean_environment() | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.root / "stderr.txt").open("wb"),
        )
        self.url = wait_until(self._address, what="the daemon to say where it serves", seconds=self.patience_seconds)
        wait_until(self._answers, what="the daemon to answer")
        return self

    def _address(self) -> str | None:
        assert self.process is not None
        assert self.process.poll() is None, (self.root / "stderr.txt").read_text()
        match = re.search(r"serving on (http://[\w.:]+)", self.log)
        return match[1] if match else None

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL, as a crash or the kernel would end it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"X-API-Key": self.key} | options.pop("headers", {})
        response = requests.request(method, self.url + path, headers=headers, timeout=PATIENCE_SECONDS, **options)
        media = response.headers.get("Content-Type", "").partition(";")[0]
        check_answer(method, path, response.status_code, media, response.content, metrics=self.metrics)
        return response

    def get(self, path: str, **options: Any) -> Any:
        response = self.request("GET", path, **options)
        assert response.ok, response.text
        return response.json()

    def post(self, path: str, **options: Any) -> Any:
        response = self.request("POST", path, **options)
        assert response.ok, response.text
        return response.json()

    def feed(self, records: Iterable[Mapping[str, Any]]) -> Any:
        return self.post("/feed/data", json={"records": list(records)})

    def predictions(self) -> Any:
        return self.get("/predictions/current")

    def model_info(self) -> Any:
        return self.get("/admin/model-info")

    def wait_for_live(self, name: str) -> Any:
        """model-info of the version, once it is live."""

        def live() -> Any:
            info = self.model_info()
            return info if info.get("model_name") == name else None

        return wait_until(live, what=f"{name} to go live")

    def state_of(self, name: str) -> tuple[str, str]:
        """What /admin/models says of a version: state and reason."""
        models = self.get("/admin/models")["models"]
        return next(
            ((model["state"], model.get("reason") or "") for model in models if model["name"] == name), ("", "")
        )

    def resident_bytes(self) -> int:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024
