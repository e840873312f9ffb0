"""The Streamlit example, driven by Streamlit's own AppTest, on the real daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model

testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed (it is in the extra dev)")

pytestmark = pytest.mark.slow

APP = Path(__file__).parents[2] / "examples" / "streamlit_app.py"
FIRST, BROKEN = "tft_model_20250130_143000", "tft_model_20250131_143000"
INTERVAL_SECONDS = 300
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("streamlit"), metrics=METRICS, watch={"enabled": False}) as daemon:
        yield daemon


@pytest.fixture
def app(daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NORDIQ_URL", daemon.url)
    monkeypatch.setenv("NORDIQ_API_KEY", daemon.key)
    return testing.AppTest.from_file(str(APP), default_timeout=PATIENCE_SECONDS).run()


def press_reload(app: Any) -> Any:
    (button,) = (button for button in app.button if button.label == "Reload latest")
    return button.click().run()


def test_before_the_first_model_it_says_what_to_do(app: Any) -> None:
    assert not app.exception
    assert any("nordiq-watch train" in info.value for info in app.info)


def test_the_button_loads_and_the_forecast_is_shown(app: Any, daemon: DaemonProcess) -> None:
    now = int(time.time()) // INTERVAL_SECONDS * INTERVAL_SECONDS
    whose = {"server_name": "ppdb001"}
    daemon.feed(
        [
            whose | {"timestamp": now - back * INTERVAL_SECONDS, "cpu_user_pct": 40.0 + back, "mem_used_pct": 60.0}
            for back in range(ENCODER)
        ]
    )
    drop_model(daemon.models, FIRST)
    press_reload(app)
    assert not app.exception
    assert [metric.value for metric in app.metric] == [FIRST, "1"]
    wait_until(lambda: daemon.predictions()["predictions"], what="a forecast")
    app.run()
    assert app.selectbox[0].options == ["ppdb001"]
    assert app.selectbox[1].options == list(METRICS)


def test_a_version_that_is_refused_says_why(app: Any, daemon: DaemonProcess) -> None:
    drop_model(daemon.models, BROKEN, shift=500.0)
    press_reload(app)
    assert not app.exception
    assert app.status[0].state == "error"
    assert "canary: cpu_user_pct is forecast from" in app.status[0].label
    assert app.metric[0].value == FIRST


def test_a_daemon_that_is_away_is_one_line(daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORDIQ_URL", "http://127.0.0.1:1")
    away = testing.AppTest.from_file(str(APP), default_timeout=PATIENCE_SECONDS).run()
    assert not away.exception
    assert "no daemon answers at http://127.0.0.1:1" in away.error[0].value
