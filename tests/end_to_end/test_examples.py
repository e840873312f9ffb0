"""The curl page and the examples, run against real daemons as a reader would run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.daemon import DaemonProcess, wait_until
from support.fleet import METRICS
from support.trained_models import TrainedModels

from nordiq_watch.cli.synthetic import make_fleet, write_csv
from nordiq_watch.config.environment import environment_without_settings

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
OLDER, NEWER, CUT_OFF = "tft_model_20250130_143000", "tft_model_20250131_143000", "tft_model_20250129_143000"
SERVERS = ("ppdb001", "ppweb001")
SINGLY = 2 * 10
"""So many records come interval by interval: forecasts half an hour ahead come due."""
SECTIONS: dict[str, Any] = {
    "window": {"length": 48},
    "reload": {"canary": {"max_crossed_share": 1.0}},  # ten batches do not teach a network to order its quantiles
    "training": {
        "hidden_size": 8,
        "attention_heads": 2,
        "max_encoder_length": 36,
        "max_prediction_length": 12,
        "batch_size": 32,
        "max_batches_per_epoch": 10,
    },
}

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


@pytest.fixture(scope="module")
def daemon(trained_models: TrainedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """What the curl page tells of: two servers, one of them in trouble; an older version, a newer one that is live and
    whose forecasts came due, and one that is cut off.
    """
    root = tmp_path_factory.mktemp("examples")
    with DaemonProcess(root, metrics=METRICS, **SECTIONS) as daemon:
        history = list(samples(40))
        daemon.feed(history[:-SINGLY])
        for name, directory in zip((OLDER, NEWER), trained_models.directories, strict=True):
            drop(daemon, directory, name)
            daemon.wait_for_live(name)
        drop(daemon, trained_models.directories[0], CUT_OFF, cut_bytes=100)
        wait_until(lambda: daemon.state_of(CUT_OFF)[0], what="the daemon to see the version that is cut off")
        wait_until(lambda: daemon.predictions()["predictions"], what="a forecast")
        for begin in range(len(history) - SINGLY, len(history), len(SERVERS)):
            feed_and_wait(daemon, history[begin : begin + len(SERVERS)])
        wait_until(lambda: daemon.get("/admin/accuracy")["versions"], what="forecasts that came due")
        yield daemon


@pytest.fixture(scope="module")
def empty_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("empty"), metrics=METRICS, **SECTIONS) as daemon:
        yield daemon


def samples(count: int) -> Iterator[dict[str, Any]]:
    """The last `count` intervals of both servers, up to now."""
    now = time.time()
    for slot in range(count):
        for server, memory in zip(SERVERS, (70, 90), strict=True):  # the second one is an alert
            measured = {"cpu_user_pct": 40 + slot % 7, "mem_used_pct": memory + slot % 5}
            yield {"timestamp": now - (count - 1 - slot) * 300, "server_name": server, **measured}


def feed_and_wait(daemon: DaemonProcess, records: list[dict[str, Any]]) -> None:
    """The samples of one interval, and the forecast that they lead to."""
    before = daemon.predictions()["metadata"]["horizon_start"]
    daemon.feed(records)
    wait_until(lambda: daemon.predictions()["metadata"]["horizon_start"] != before, what="the next forecast")


def drop(daemon: DaemonProcess, directory: Path, name: str, *, cut_bytes: int = 0) -> None:
    copy = daemon.root / name
    shutil.copytree(directory, copy)
    if cut_bytes:
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-cut_bytes])
    copy.rename(daemon.models / name)


def environment(daemon: DaemonProcess, **more: str) -> dict[str, str]:
    """What a user has exported before the first command."""
    return environment_without_settings() | {"NORDIQ_URL": daemon.url, "NORDIQ_API_KEY": daemon.key} | more


class TestCurlPage:
    """docs/api.md; how it is read stands at its end."""

    @dataclass(frozen=True)
    class Block:
        line: int
        command: str
        status: int
        language: str
        answer: str
        without_model: bool

    PAGE = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    BLOCK = re.compile(r"```bash\n((?:(?!```).)*)```\n\nAnswer: (\d+)\n\n```(json|text|csv)\n(.*?)```", re.DOTALL)
    NO_MODEL = "<!-- daemon: without a model -->"

    def blocks(self) -> Iterator[Block]:
        for match in self.BLOCK.finditer(self.PAGE):
            command, status, language, answer = match.groups()
            line = self.PAGE.count("\n", 0, match.start()) + 1
            without_model = match.start() > self.PAGE.index(self.NO_MODEL)
            yield self.Block(line, command, int(status), language, answer, without_model)

    @needs_curl
    def test_every_command_gives_what_the_page_says(
        self, daemon: DaemonProcess, empty_daemon: DaemonProcess, tmp_path: Path
    ) -> None:
        (tmp_path / ".curlrc").write_text('write-out = "\\n%{http_code}"\n')
        for block in self.blocks():
            asked = empty_daemon if block.without_model else daemon
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.command],
                env=environment(asked, CURL_HOME=str(tmp_path)),
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            answer, _, status = done.stdout.rpartition("\n")
            place = f"docs/api.md:{block.line}"
            assert int(status) == block.status, f"{place}: {answer}"
            if block.language == "json":
                assert_is_like(json.loads(answer), json.loads(block.answer), place=place)
            elif block.language == "text":
                assert_has_metrics(answer, block.answer, place=place)
            else:
                missing = set(block.answer.strip(",…\n").split(",")) - set(answer.splitlines()[0].split(","))
                assert not missing, f"{place}: {missing}"
        daemon.feed(list(samples(40)))  # the page forgets a server, which the tests below read
        wait_until(lambda: set(SERVERS) <= daemon.predictions()["predictions"].keys(), what="both servers again")

    def test_every_curl_command_has_an_answer(self) -> None:
        commands = re.findall(r"^curl ", self.PAGE, re.MULTILINE)
        assert len(commands) == len(list(self.blocks())) > 20

    def test_every_heading_is_in_the_table_and_shown(self) -> None:
        table = re.findall(r"^\| (GET|POST|DELETE) \| \[`(\S+)`\]", self.PAGE, re.MULTILINE)
        headings = re.findall(r"^### (GET|POST|DELETE) (\S+)$", self.PAGE, re.MULTILINE)
        assert headings == table


def assert_is_like(real: Any, shown: Any, *, place: str) -> None:
    """The real answer has each key that is shown, with a value of the same kind. null is of any kind."""
    if real is None or shown is None:
        return
    number = (int, float)
    assert isinstance(real, number if type(shown) in number else type(shown)), f"{place}: {real!r} for {shown!r}"
    if isinstance(shown, dict) and isinstance(real, dict):
        for key, value in shown.items():
            assert key in real, f"{place}: the real answer has no {key!r}, it has {', '.join(real)}"
            assert_is_like(real[key], value, place=f"{place} {key}")
    if isinstance(shown, list) and isinstance(real, list) and shown:
        assert real, f"{place}: the real list is empty"
        assert_is_like(real[0], shown[0], place=f"{place}[0]")


def assert_has_metrics(real: str, shown: str, *, place: str) -> None:
    def series(text: str) -> set[tuple[str, tuple[str, ...]]]:
        lines = (re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line) for line in text.splitlines())
        return {(line[1], tuple(re.findall(r"(\w+)=", line[2] or ""))) for line in lines if line}

    missing = series(shown) - series(real)
    assert series(shown), place
    assert not missing, f"{place}: {missing}"


class TestClient:
    def run(self, daemon: DaemonProcess, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, EXAMPLES / "client.py", *arguments],
            env=environment(daemon, **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_it_lists_reloads_and_prints(self, daemon: DaemonProcess) -> None:
        daemon.post("/admin/reload-model")
        done = self.run(daemon, "--servers", "20")  # the page of the API has fed some more
        assert (done.returncode, done.stderr) == (0, "")
        live = daemon.model_info()["model_name"]
        assert re.search(rf"^\* {live}  live ", done.stdout, re.MULTILINE)
        assert re.search(rf"^  {CUT_OFF}  (incomplete|rejected) .* model\.safetensors", done.stdout, re.MULTILINE)
        assert "Model already loaded (same version)" in done.stdout
        for server in SERVERS:
            assert re.search(rf"  {server}\n    cpu_user_pct +\d[^\n]*\n    mem_used_pct +\d", done.stdout)

    def test_without_a_forecast_it_says_so(self, empty_daemon: DaemonProcess) -> None:
        done = self.run(empty_daemon, "--no-reload")
        assert done.returncode == 0
        assert "no forecast yet: No model is live yet" in done.stdout

    def test_a_failed_reload_is_one_line(self, empty_daemon: DaemonProcess) -> None:
        done = self.run(empty_daemon)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the reload failed: ")

    def test_a_wrong_key_is_one_line(self, daemon: DaemonProcess) -> None:
        done = self.run(daemon, NORDIQ_API_KEY="guess")
        assert done.returncode == 1
        assert re.fullmatch(r"error: 401 .*\n", done.stderr)

    def test_no_key_and_no_daemon_are_one_line_each(self, daemon: DaemonProcess) -> None:
        assert "NORDIQ_API_KEY" in self.run(daemon, NORDIQ_API_KEY="").stderr
        done = self.run(daemon, "--url", "http://127.0.0.1:1")
        assert (done.returncode, done.stderr) == (1, "error: no daemon answers at http://127.0.0.1:1\n")


@needs_curl
class TestFeedScript:
    def run(self, daemon: DaemonProcess, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [EXAMPLES / "feed.sh", "--once"],
            env=environment(daemon, **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_this_host_becomes_a_server_of_the_daemon(self, empty_daemon: DaemonProcess) -> None:
        before = empty_daemon.get("/status")["servers_tracked"]
        done = self.run(empty_daemon)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["records_received"] == 1
        assert empty_daemon.get("/status")["servers_tracked"] == before + 1

    def test_a_wrong_key_fails(self, empty_daemon: DaemonProcess) -> None:
        done = self.run(empty_daemon, NORDIQ_API_KEY="guess")
        assert done.returncode != 0
        assert "401" in done.stderr


@needs_curl
@needs_jq
class TestRetrainScript:
    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        """Two days of a made-up fleet: enough to train on for a moment."""
        folder = tmp_path / "dataset"
        folder.mkdir()
        write_csv(make_fleet(time.time(), days=2), folder / "fleet.csv")
        return folder

    def run(self, daemon: DaemonProcess, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "PROGRAM": f"{sys.executable} -m nordiq_watch",
            "CONFIG": str(daemon.config_file),
            "MODELS_DIR": str(daemon.models),
            "OMP_NUM_THREADS": "1",
            "TRAIN_OPTIONS": "--drop-anyway --epochs 1",  # a few batches teach little
        }
        return subprocess.run(
            [EXAMPLES / "retrain_and_reload.sh", *map(str, arguments)],
            env=environment(daemon, **settings | variables),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def test_a_new_version_is_trained_and_goes_live(
        self, trained_models: TrainedModels, dataset: Path, tmp_path: Path
    ) -> None:
        with DaemonProcess(tmp_path / "daemon", metrics=METRICS, **SECTIONS) as daemon:
            daemon.feed(list(samples(40)))
            done = self.run(daemon, dataset, 0.2, TRAIN_OPTIONS="--drop-anyway")
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"training on {dataset} for 0.2 minutes at most" in done.stdout
            assert done.stdout.splitlines()[-1].endswith(f"{daemon.model_info()['model_name']} is live")

    def test_it_asks_for_a_reload_where_nobody_watches(self, dataset: Path, tmp_path: Path) -> None:
        with DaemonProcess(tmp_path / "daemon", metrics=METRICS, watch={"enabled": False}, **SECTIONS) as daemon:
            done = self.run(daemon, dataset, 1, WAIT_SECONDS="0")
            assert done.returncode == 0, done.stdout + done.stderr
            assert "asking for a reload" in done.stdout

    def test_a_version_that_the_daemon_refuses(self, dataset: Path, tmp_path: Path) -> None:
        longer = tmp_path / "longer.yaml"
        training = SECTIONS["training"] | {"max_encoder_length": 60}
        longer.write_text(yaml.safe_dump({"metrics": list(METRICS), "training": training}))
        with DaemonProcess(tmp_path / "daemon", metrics=METRICS, **SECTIONS) as daemon:
            done = self.run(daemon, dataset, 1, WAIT_SECONDS="0", CONFIG=str(longer))
        assert done.returncode == 6, done.stdout + done.stderr
        assert re.search(r"error: the daemon refused tft_model_\d+_\d+: .*288.*48", done.stderr)

    def test_a_pin_is_respected_before_anything_is_trained(
        self, trained_models: TrainedModels, dataset: Path, tmp_path: Path
    ) -> None:
        with DaemonProcess(tmp_path / "daemon", metrics=METRICS, **SECTIONS) as daemon:
            drop(daemon, trained_models.directories[0], OLDER)
            daemon.wait_for_live(OLDER)
            daemon.post(f"/admin/reload-model?model_path={OLDER}")
            done = self.run(daemon, dataset, 1)
            assert done.returncode == 5
            assert done.stderr == f"error: {OLDER} is pinned; end that first with: nordiq-watch unpin\n"
            assert [path.name for path in daemon.models.iterdir()] == [OLDER]

    def test_each_mistake_has_its_own_word_and_code(self, daemon: DaemonProcess, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        done = self.run(daemon)
        assert (done.returncode, done.stderr[:13]) == (2, "error: usage:")
        done = self.run(daemon, "/nowhere")
        assert (done.returncode, done.stderr) == (2, "error: /nowhere does not exist\n")
        done = self.run(daemon, empty, PROGRAM="no-such-program")
        assert (done.returncode, done.stderr) == (2, "error: no-such-program is not installed\n")
        done = self.run(daemon, empty, NORDIQ_URL="http://127.0.0.1:1")
        assert done.returncode == 4
        assert done.stderr.endswith("error: no daemon answers at http://127.0.0.1:1\n")
        done = self.run(daemon, empty, NORDIQ_API_KEY="guess")
        assert (done.returncode, done.stderr) == (4, f"error: the daemon at {daemon.url} refuses the API key\n")

    def test_a_failed_training_ends_it(self, empty_daemon: DaemonProcess, tmp_path: Path) -> None:
        done = self.run(empty_daemon, tmp_path, 1)
        assert done.returncode == 3
        assert done.stderr.endswith("error: the training failed; it says above why\n")

    def test_it_is_a_program_with_a_cron_line(self) -> None:
        script = EXAMPLES / "retrain_and_reload.sh"
        assert os.access(script, os.X_OK)
        assert re.search(r"^#   0 3 \* \* \* .*examples/retrain_and_reload\.sh", script.read_text(), re.MULTILINE)
