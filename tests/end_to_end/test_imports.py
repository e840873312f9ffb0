"""What a daemon that serves has not imported: the libraries that only training needs, which take seconds to load."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from support.daemon import DaemonProcess, wait_until
from support.drop_site import SECTIONS, warm_fleet
from support.models import METRICS, drop_model

pytestmark = pytest.mark.slow

VERSION = "tft_model_20250101_000000"
TRAINING_ONLY = {"pandas", "lightning", "pytorch_lightning", "sklearn", "pytorch_forecasting"}
SERVE_AND_TELL = """\
import json, signal, sys
from pathlib import Path
from nordiq_watch.cli.main import main

def write_modules(*_):
    Path(sys.argv[1]).write_text(json.dumps(sorted(sys.modules)))

signal.signal(signal.SIGUSR1, write_modules)
sys.exit(main(sys.argv[5:]))  # behind them: python -m nordiq_watch
"""


def test_a_daemon_with_a_forecast_has_not_imported_what_only_training_needs(tmp_path: Path) -> None:
    script, modules_file = tmp_path / "serve_and_tell.py", tmp_path / "modules.json"
    script.write_text(SERVE_AND_TELL)
    daemon = DaemonProcess(tmp_path / "site", metrics=METRICS, **SECTIONS)
    daemon.launcher = (sys.executable, str(script), str(modules_file))
    with daemon:
        drop_model(daemon.models, VERSION)
        daemon.wait_for_live(VERSION)
        daemon.feed(warm_fleet())
        wait_until(lambda: daemon.predictions()["predictions"], what="a forecast")
        daemon.signal(signal.SIGUSR1)
        modules = set(wait_until(lambda: read_modules(modules_file), what="the daemon's modules"))
        assert daemon.stop() == 0
    assert {"torch", "nordiq_watch.daemon"} <= modules
    assert not TRAINING_ONLY & modules


def read_modules(file: Path) -> list[str] | None:
    """None while it is not written, or not to its end."""
    try:
        names: list[str] = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return names
