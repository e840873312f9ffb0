"""`nordiq-watch install-service`, into a directory that stands for the root of a system."""

from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.cli.main import main
from nordiq_watch.host.shipped import read_default_config

PROGRAM = "/usr/bin/nordiq-watch"
SERVICE = "etc/systemd/system/nordiq-watch.service"
CONFIG = "var/lib/nordiq-watch/config.yaml"


def install(prefix: Path, *options: str) -> int:
    return main(["install-service", "--prefix", str(prefix), "--program", PROGRAM, *options])


def files_below(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_everything_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(tmp_path) == 0
    written = files_below(tmp_path)
    assert f"ExecStart={PROGRAM} serve" in written[SERVICE]
    assert written[CONFIG] == read_default_config()
    told = capsys.readouterr().out
    assert all(str(tmp_path / name) in told for name in written)
    assert install(tmp_path) == 0
    assert "written  " not in capsys.readouterr().out
    assert files_below(tmp_path) == written


def test_a_dry_run_shows_all_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(tmp_path, "--dry-run", "--gpu") == 0
    assert files_below(tmp_path) == {}
    shown = capsys.readouterr().out
    install(tmp_path, "--gpu")
    for name, text in files_below(tmp_path).items():
        assert f"# {tmp_path / name} (new)\n{text}" in shown


def test_a_changed_file_is_kept_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(tmp_path)
    (tmp_path / SERVICE).write_text("mine")
    (tmp_path / "etc/sysusers.d/nordiq-watch.conf").unlink()
    before = files_below(tmp_path)
    capsys.readouterr()
    assert install(tmp_path) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / SERVICE) in error
    assert "--force" in error
    assert files_below(tmp_path) == before
    assert install(tmp_path, "--force") == 0
    assert f"ExecStart={PROGRAM} serve" in (tmp_path / SERVICE).read_text()


def test_the_config_is_the_admins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / CONFIG).parent.mkdir(parents=True)
    (tmp_path / CONFIG).write_text("mine")
    assert install(tmp_path, "--force") == 0
    assert (tmp_path / CONFIG).read_text() == "mine"
    assert f"kept      {tmp_path / CONFIG}" in capsys.readouterr().out


def test_the_next_commands_are_those_for_that_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(tmp_path)
    told = capsys.readouterr().out
    assert f"systemd-sysusers --root={tmp_path} nordiq-watch.conf" in told
    assert f"{PROGRAM} key add admin --role admin --key-file {tmp_path}/etc/nordiq-watch/keys" in told
    assert f"systemctl --root={tmp_path} enable nordiq-watch.socket" in told
    assert main(["install-service", "--dry-run", "--program", PROGRAM]) == 0
    assert "systemctl enable --now nordiq-watch.socket" in capsys.readouterr().out


def test_a_program_in_a_home_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["install-service", "--dry-run", "--prefix", str(tmp_path), "--program", "/home/ann/bin/nordiq-watch"])
    assert "warning: the services cannot see /home/ann/bin/nordiq-watch" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").write_text("a file")
    assert install(tmp_path) == 1
    assert f"error: {tmp_path / 'etc'}" in capsys.readouterr().err
