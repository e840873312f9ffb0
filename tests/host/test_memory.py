from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from nordiq_watch.host.memory import free_host_bytes


def group(root: Path, path: str, *, limit: str, current: int) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / "memory.max").write_text(f"{limit}\n")
    (root / path / "memory.current").write_text(f"{current}\n")


@pytest.fixture
def own_groups(tmp_path: Path) -> Path:
    file = tmp_path / "own"
    file.write_text("1:name=systemd:/\n0::/system.slice/nordiq-watch.service\n")
    return file


def test_a_limit_of_the_service_counts(tmp_path: Path, own_groups: Path) -> None:
    group(tmp_path, "system.slice/nordiq-watch.service", limit="3000000", current=1000000)
    assert free_host_bytes(tmp_path, own_groups) == 2000000


def test_a_limit_further_up_counts_too(tmp_path: Path, own_groups: Path) -> None:
    group(tmp_path, "system.slice/nordiq-watch.service", limit="max", current=1000000)
    group(tmp_path, "system.slice", limit="1500000", current=1200000)
    assert free_host_bytes(tmp_path, own_groups) == 300000


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path, own_groups: Path) -> None:
    group(tmp_path, "system.slice/nordiq-watch.service", limit="10", current=20)
    assert free_host_bytes(tmp_path, own_groups) == 0


def test_without_groups_the_machine_decides(tmp_path: Path) -> None:
    free = free_host_bytes(tmp_path, tmp_path / "missing")
    assert 0 < free <= psutil.virtual_memory().total
