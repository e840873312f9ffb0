from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.installation import below, compare, out_of_sight, plan_units, write_whole
from nordiq_watch.host.shipped import read_unit_files

SHIPPED = read_unit_files()
UNITS = "/etc/systemd/system"


def test_every_shipped_file_has_its_place() -> None:
    files = plan_units(SHIPPED, program="/usr/bin/nordiq-watch", data_dir="/var/lib/nordiq-watch", gpu=True)
    assert sorted(files) == [
        f"{UNITS}/nordiq-watch-train.service",
        f"{UNITS}/nordiq-watch-train.service.d/gpu.conf",
        f"{UNITS}/nordiq-watch-train.timer",
        f"{UNITS}/nordiq-watch.service",
        f"{UNITS}/nordiq-watch.service.d/gpu.conf",
        f"{UNITS}/nordiq-watch.socket",
        "/etc/sysusers.d/nordiq-watch.conf",
        "/etc/tmpfiles.d/nordiq-watch.conf",
    ]


def test_what_a_gpu_needs_is_only_there_on_request() -> None:
    files = plan_units(SHIPPED, program="/usr/bin/nordiq-watch", data_dir="/var/lib/nordiq-watch", gpu=False)
    assert not any("gpu" in path for path in files)


def test_no_path_of_the_shipped_files_is_left_over() -> None:
    files = plan_units(SHIPPED, program="/usr/bin/python3 -m nordiq_watch", data_dir="/srv/watch/", gpu=True)
    assert not any("/opt/nordiq-watch" in text or "/var/lib/nordiq-watch" in text for text in files.values())
    service = files[f"{UNITS}/nordiq-watch.service"].splitlines()
    assert "ExecStart=/usr/bin/python3 -m nordiq_watch serve --config /srv/watch/config.yaml" in service
    assert "ReadWritePaths=/srv/watch/models /srv/watch/state /srv/watch/logs" in service


@pytest.mark.parametrize("path", ["bin/nordiq-watch", "/a b/nordiq-watch", "/a%20/x", "/a\nExecStart=/bin/sh", "", "~"])
def test_a_path_that_a_unit_cannot_hold_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="cannot be named in a unit file"):
        plan_units(SHIPPED, program="/usr/bin/nordiq-watch", data_dir=path, gpu=False)


@pytest.mark.parametrize("program", ["/opt/my programs/nordiq-watch", "/opt/x serve\nExecStartPre=/bin/sh", "/a %h"])
def test_a_program_of_several_words_is_refused(program: str) -> None:
    with pytest.raises(ConfigError, match="cannot be named in a unit file"):
        plan_units(SHIPPED, program=program, data_dir="/var/lib/nordiq-watch", gpu=False)


def test_a_file_is_compared_and_written_whole(tmp_path: Path) -> None:
    path = below(tmp_path, "/etc/systemd/system/x.service")
    assert path == tmp_path / "etc/systemd/system/x.service"
    assert compare(path, "text") == "new"
    write_whole(path, "text", mode=0o640)
    assert compare(path, "text") == "unchanged"
    assert compare(path, "other") == "differs"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.service"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """`systemctl mask` makes a link to /dev/null."""
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "x.service").symlink_to(tmp_path / "elsewhere")
    write_whole(tmp_path / "x.service", "ours", mode=0o644)
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert (tmp_path / "x.service").read_text() == "ours"


def test_homes_are_out_of_sight(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to("/root/.pyenv/bin/python")
    assert out_of_sight(Path("/opt/x"), Path("/home/ann/x"), link, Path("/homes/x")) == [Path("/home/ann/x"), link]
