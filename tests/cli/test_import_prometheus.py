"""`import --prometheus`, with Debian's Prometheus, into the files of a daemon that does not run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collectors import needs
from support.daemon import free_port
from support.prometheus_history import prometheus_with, scrape

from nordiq_watch.cli.main import FAILED, build_parser, main
from nordiq_watch.cli.parsers import USAGE_EXIT
from nordiq_watch.cli.prometheus_options import source_of
from nordiq_watch.config.load import load_settings
from nordiq_watch.errors import ClientError
from nordiq_watch.events import EventBus
from nordiq_watch.ingest.build import build_ingest
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts

HOURS = 4


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PROMETHEUS_TOKEN", "PROMETHEUS_BASIC_AUTH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.yaml").write_text(f"server: {{port: {free_port()}}}\n")
    return tmp_path


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A Prometheus with some hours of two servers, up to now."""
    now = time.time()
    (tmp_path / "prometheus").mkdir()
    with prometheus_with(scrape(2, begin=now - HOURS * 3600, end=now), tmp_path / "prometheus") as url:
        yield url


@pytest.mark.slow
@needs("prometheus", program="promtool")
def test_history_of_prometheus_comes_into_the_window_and_once_only(
    folder: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["import", "--prometheus", url, "--days", "0.125"]
    assert main([*command, "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "servers 2: web0.example.net, web1.example.net" in said
    assert "5 names of series are known by a rule, 0 others are not" in said
    assert "written nothing, because of --dry-run; what was fetched is kept for the import" in said
    (spool,) = (folder / "state" / "imports").iterdir()
    assert main(command) == 0
    assert "slots into the window and 0 into the archive of" in " ".join(capsys.readouterr().out.split())
    assert not spool.exists()
    assert main(command) == 0
    assert "written 0 slots into the window and 0 into the archive of" in " ".join(capsys.readouterr().out.split())
    settings = load_settings(folder / "config.yaml", {})
    parts = build_ingest(settings, EventBus(), live=Live(), parts=Parts(hidden=()), free_bytes=lambda: 10**10)
    parts.restore()
    measured = parts.window.samples_within(36, ("cpu_user_pct", "mem_used_pct", "net_in_mb_s", "load_average"))
    parts.journal.close()
    assert max(measured) == 36
    assert min(measured) >= 23  # an hour without samples is a gap


def test_a_fetch_without_a_server_ends_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--prometheus", "prometheus:9090"]) == FAILED
    said = "error: prometheus:9090: not an address; write it like http://prometheus.example.net:9090\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give files and folders, or --prometheus URL"),
        (["a.csv", "--prometheus", "http://p:9090"], "give files and folders, or --prometheus URL"),
        (["--prometheus", "http://p:9090", "--wide", "cpu_user_pct"], "--column, --wide and --label are for files"),
        (["--prometheus", "http://p:9090", "--days", "0"], "0 is not a number of days above 0 and up to 3650"),
        (["--prometheus", "http://p:9090", "--header", "X"], "X is not NAME: VALUE"),
    ],
)
def test_mistakes_in_the_options_are_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["import", *arguments])
    assert end.value.code == USAGE_EXIT
    assert said in capsys.readouterr().err


def test_credentials_come_from_files_or_the_environment(folder: Path) -> None:
    parser, _ = build_parser()

    def source(*arguments: str, **environ: str) -> tuple[dict[str, str], tuple[str, str] | None]:
        args = parser.parse_args(["import", "--prometheus", "http://p:9090", *arguments])
        found = source_of(args, environ)
        return dict(found.headers), found.basic

    Path("token").write_text("abc\n")
    Path("basic").write_text("me:a:b\n")
    assert source() == ({}, None)
    assert source("--header", "X-Scope-OrgID: 7", PROMETHEUS_TOKEN="t") == (
        {"X-Scope-OrgID": "7", "Authorization": "Bearer t"},
        None,
    )
    assert source("--token-file", "token", PROMETHEUS_TOKEN="t") == ({"Authorization": "Bearer abc"}, None)
    assert source(PROMETHEUS_BASIC_AUTH="me:x") == ({}, ("me", "x"))
    assert source("--basic-auth-file", "basic", PROMETHEUS_BASIC_AUTH="me:x") == ({}, ("me", "a:b"))
    for arguments, said in (
        (("--token-file", "none"), "none: cannot be read"),
        (("--basic-auth-file", "token"), "token: is not USER:PASSWORD"),
        (("--cacert", "none"), "none: there is no such file"),
    ):
        with pytest.raises(ClientError, match=said):
            source(*arguments)
