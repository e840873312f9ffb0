"""schemathesis reads the daemon's own document and tries whatever it allows and forbids, with all of its checks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.drop_site import make_site

pytestmark = pytest.mark.slow

EXAMPLES = 30
"""For each operation and phase; enough for every kind of mistake once, and under a minute in all."""

SETTINGS = """\
[parameters]
"path.server" = "ppdb000"
[checks.positive_data_acceptance]
# 400, 422: what a schema cannot say (two names that differ, a time too far ahead, a version that cannot be loaded).
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422"]
[[operations]]
include-path = "/feed/telegraf"
# Its sender repeats for ever what is not 2xx: a body that it cannot mean is dropped with 200.
checks.negative_data_rejection.expected-statuses = ["200", "400", "401", "405", "415"]
"""


def test_the_daemon_keeps_to_its_document(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        (tmp_path / "schemathesis.toml").write_text(SETTINGS)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", str(tmp_path / "schemathesis.toml")),
                *("run", f"{site.daemon.url}/openapi.json"),
                *("--exclude-path", "/feed/prometheus"),  # it cannot write protobuf in snappy
                *("--exclude-path", "/servers/{server}"),  # its GET is a page of the console, and in no document
                *("--exclude-path", "/servers/{server}/maintenance"),  # nor is that of a server whose name ends so
                *("--header", f"X-API-Key: {site.daemon.key}"),
                *("--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1", "--generation-database", "none"),
                *("--request-timeout", "30", "--no-color"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
        assert counted is not None, done.stdout
        assert counted[1] == counted[2]
        assert int(counted[1]) > 500
        assert site.daemon.get("/ready")["ready"] is True
        assert "Traceback" not in site.daemon.log
