"""`nordiq_watch.client` against the real daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from support.daemon import DaemonProcess, clean_environment, wait_until
from support.models import ENCODER, HORIZON, METRICS, drop_model

from nordiq_watch.client import Client, ClientError, DaemonRefused, FleetPart, MetricForecast, Reload, ReloadFailed

pytestmark = pytest.mark.slow

FIRST, SECOND, BROKEN = "tft_model_20250130_143000", "tft_model_20250131_143000", "tft_model_20250201_143000"
INTERVAL_SECONDS = 300


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("client"), metrics=METRICS, watch={"enabled": False}) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.url, key=daemon.key) as client:
        yield client


def test_before_the_first_model(client: Client) -> None:
    assert not client.ready()
    assert not client.status().model_loaded
    assert not client.model_info().loaded
    assert client.models() == []
    assert client.predictions().error == "no_model"
    with pytest.raises(ReloadFailed, match="not_found"):
        client.reload()


def test_samples_are_fed_and_bad_ones_named(client: Client) -> None:
    now = int(time.time()) // INTERVAL_SECONDS * INTERVAL_SECONDS
    whose = {"server_name": "ppdb001"}
    good = [
        whose | {"timestamp": now - back * INTERVAL_SECONDS, "cpu_user_pct": 50.0 + back, "mem_used_pct": 60.0}
        for back in range(ENCODER)
    ]
    fed = client.feed([*good, whose | {"timestamp": now, "cpu_user_pct": 300}])
    assert fed.records_received == ENCODER + 1
    assert [(one.index, one.field) for one in fed.rejected] == [(ENCODER, "cpu_user_pct")]


def test_a_frame_is_fed_in_pieces_and_its_bad_rows_named(client: Client) -> None:
    now = int(time.time()) // INTERVAL_SECONDS * INTERVAL_SECONDS
    frame = pd.DataFrame(
        {
            "server_name": [f"frame{number}" for number in range(5)],
            "cpu_user_pct": [10.0, None, 30.0, 300.0, 50.0],
            "mem_used_pct": [60.0, 61.0, None, 63.0, 64.0],
            "status": ["idle", None, "idle", None, None],
            "rack": [1, 2, 3, 4, 5],
        },
        index=pd.DatetimeIndex(pd.to_datetime([now] * 5, unit="s"), name="timestamp"),
    )
    fed = client.feed_frame(frame, rows_at_once=2)
    assert fed.records_received == 5
    assert [(one.index, one.field) for one in fed.rejected] == [(3, "cpu_user_pct")]
    assert fed.unknown_fields == ("rack",)
    with pytest.raises(DaemonRefused, match="rows before 2 were sent; then: No valid record") as caught:
        client.feed_frame(frame.iloc[[0, 1, 3]].assign(mem_used_pct=[60.0, 61.0, float("nan")]), rows_at_once=2)
    assert caught.value.status == 422
    with pytest.raises(ClientError, match="cannot be sent as Arrow"):
        client.feed_frame(frame.assign(cpu_user_pct=[1, "a", 2, 3, 4]))
    assert client.feed_frame(frame.iloc[:0]).reason == "empty batch"


def test_a_reload_is_waited_for_and_told_stage_by_stage(client: Client, daemon: DaemonProcess) -> None:
    drop_model(daemon.models, FIRST)
    assert client.reload().current_model == f"models/{FIRST}"
    drop_model(daemon.models, SECOND)
    seen: list[Reload] = []
    reload = client.wait_for_reload(client.reload(SECOND, wait=False).id, progress=seen.append)
    assert (reload.outcome, reload.previous_model) == ("loaded", f"models/{FIRST}")
    assert [stage.name for stage in reload.stages] == ["queued", "verified", "loaded", "canary", "live"]
    assert seen[-1] == reload
    info = client.wait_for_live(SECOND)
    assert (info.pinned, info.generation) == (True, 2)
    assert [(model.name, model.is_current) for model in client.models()] == [(SECOND, True), (FIRST, False)]


def test_the_forecast_has_types(client: Client) -> None:
    forecast = wait_until(lambda: client.predictions() if client.predictions().servers else None, what="a forecast")
    cpu = forecast.servers["ppdb001"].metrics["cpu_user_pct"]
    assert (cpu.current, len(cpu.p50)) == (50.0, HORIZON)
    assert client.prediction("ppdb001").servers == {"ppdb001": forecast.servers["ppdb001"]}
    assert client.predictions(FleetPart(labels=["team:no-team"])).servers == {}
    part = FleetPart(servers=["ppdb001"], metrics=["cpu_user_pct"], fields=["p50"])
    (page,) = client.pages(part, limit=10)
    assert page.servers["ppdb001"].metrics == {"cpu_user_pct": MetricForecast(p50=cpu.p50)}
    assert client.predictions(part) == page
    with pytest.raises(DaemonRefused) as caught:
        client.prediction("nobody")
    assert caught.value.status == 404


def test_a_refused_version_says_why_and_what_is_live(client: Client, daemon: DaemonProcess) -> None:
    drop_model(daemon.models, BROKEN, shift=500.0)
    with pytest.raises(ReloadFailed, match=f"canary: .*models/{SECOND} is still live") as caught:
        client.reload(BROKEN)
    assert caught.value.outcome == "rejected"
    with pytest.raises(ClientError, match=f"{BROKEN} was rejected: canary"):
        client.wait_for_live(BROKEN)


def test_back_and_unpinned(client: Client) -> None:
    assert client.unpin().outcome == "unpinned"
    assert client.rollback().current_model == f"models/{FIRST}"
    assert client.reloads(limit=1)[0].trigger == "rollback"
    assert client.alerts() == []


def test_a_server_is_forgotten(client: Client) -> None:
    client.feed([{"timestamp": time.time(), "server_name": "rack/7 größe", "cpu_user_pct": 1.0}])
    forgotten = client.forget_server("rack/7 größe")
    assert (forgotten.server_name, forgotten.pending) == ("rack/7 größe", [])
    assert "window" in forgotten.forgotten
    with pytest.raises(DaemonRefused, match="HTTP 404"):
        client.forget_server("rack/7 größe")


def test_a_server_is_in_maintenance_and_listed_so(client: Client) -> None:
    client.feed([{"timestamp": time.time(), "server_name": "rack/8", "cpu_user_pct": 1.0}])
    begun = client.begin_maintenance("rack/8", until=time.time() + 600, reason="new disk")
    assert begun.maintenance is not None
    assert begun.maintenance.reason == "new disk"
    assert [server.server_name for server in client.servers(state="maintenance")] == ["rack/8"]
    assert client.end_maintenance("rack/8").maintenance is None
    assert list(client.servers(state="maintenance")) == []
    assert "rack/8" in [server.server_name for server in client.servers()]
    for order in (client.end_maintenance, client.forget_server):
        with pytest.raises(DaemonRefused, match="HTTP 404"):
            order("rack/9")
    client.forget_server("rack/8")


def test_an_order_that_was_never_taken_is_refused(client: Client) -> None:
    with pytest.raises(DaemonRefused, match="not a version in the models directory"):
        client.reload("../elsewhere")


def test_importing_it_brings_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'flask', 'pandas'}"
    code = f"import sys, nordiq_watch.client; print(sorted({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_of_the_page_says_what_is_live_and_why(
    daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
    (example,) = re.findall(r"^```python$(.*?)^```$", page, flags=re.M | re.S)
    monkeypatch.chdir(daemon.root)  # where .nordiq_key lies
    script = tmp_path / "example.py"
    script.write_text(example.replace("http://127.0.0.1:8000", daemon.url))

    def run() -> str:
        done = subprocess.run([sys.executable, str(script)], env=clean_environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "ppdb001" in done.stdout
        return done.stdout

    assert re.search(rf"^models/{FIRST} stays: canary: ", run(), flags=re.M), "the newest version is broken"
    shutil.rmtree(daemon.models / BROKEN)
    assert re.search(r"^models/\S+ is live, after \d+\.\d\d s$", run(), flags=re.M)
