"""The daemon under a path of a real nginx: console, API and client; with the path left in and taken away."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from support.browser import PATIENCE_MILLISECONDS, collect_errors, open_browser
from support.daemon import PATIENCE_SECONDS, DaemonProcess, free_port, wait_until
from support.models import METRICS, drop_model

from nordiq_watch.client import Client

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
]

PREFIX = "/watch/nordiq"
MODEL = "tft_model_20250130_143000"
CONFIG = """
daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location {prefix}/ {{
            proxy_pass {upstream};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For "198.51.100.7, $remote_addr";
            proxy_set_header X-Forwarded-Proto "http, http";
            proxy_set_header X-Forwarded-Prefix {prefix};
        }}
    }}
}}
"""


@contextmanager
def nginx(root: Path, upstream: str) -> Iterator[str]:
    """A proxy for the daemon at `upstream`; the URL of the daemon behind it."""
    root.mkdir()
    port = free_port()
    file = root / "nginx.conf"
    file.write_text(CONFIG.format(root=root, port=port, prefix=PREFIX, upstream=upstream))
    process = subprocess.Popen(["nginx", "-p", str(root), "-e", str(root / "error.log"), "-c", str(file)])
    url = f"http://127.0.0.1:{port}{PREFIX}"

    def answers() -> bool:
        assert process.poll() is None, (root / "error.log").read_text()
        try:
            return requests.get(f"{url}/health", timeout=PATIENCE_SECONDS).ok
        except requests.ConnectionError:
            return False

    try:
        wait_until(answers, what="nginx to answer")
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("path_is", ["left in", "taken away"])
def test_console_and_client_work_under_a_path_of_nginx(tmp_path: Path, path_is: str) -> None:
    server = {"port": 0, "url_prefix": PREFIX, "trusted_proxy": "127.0.0.1"}
    with DaemonProcess(tmp_path / "daemon", metrics=METRICS, server=server) as daemon:
        drop_model(daemon.models, MODEL)
        upstream = daemon.url + ("" if path_is == "left in" else "/")
        with nginx(tmp_path / "nginx", upstream) as url, open_browser() as browser:
            with Client(url, key=daemon.key) as client:
                client.wait_for_live(MODEL, seconds=PATIENCE_SECONDS)
                records = [{"timestamp": "2025-01-30T14:30:00", "server_name": "web1", METRICS[0]: 5.0}]
                assert client.feed(records).records_received == 1
                assert client.reload(MODEL).outcome == "unchanged"
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MILLISECONDS)
            errors = collect_errors(page)
            page.goto(f"{url}/models")
            page.get_by_label("API key").fill(daemon.key)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{url}/models")
            page.get_by_text(MODEL.removeprefix("tft_model_")).first.wait_for()
            page.get_by_role("link", name="System").click()
            page.wait_for_url(f"{url}/system")
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url(f"{url}/sign-in")
            assert errors == []
        assert "X-Forwarded-Prefix" not in daemon.log
