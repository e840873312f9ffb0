from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nordiq_watch.errors import CheckpointError
from nordiq_watch.training.budget import Limits
from nordiq_watch.training.checkpoint import DIRECTORY, FILE, Checkpoint, CheckpointFile, check_origin
from nordiq_watch.training.state import State

ORIGIN = {"servers": 3, "metrics": ["cpu_user_pct"], "training.seed": 42}


def checkpoint(spent: float = 12.5) -> Checkpoint:
    shared = torch.arange(6.0).reshape(2, 3)
    states = {
        "network": State({"a": shared, "b": shared, "turned": shared.T}),
        "schedule": State(values={"batches": 7, "validated": None}),
    }
    return Checkpoint(ORIGIN, Limits(20, None), spent, states)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    CheckpointFile(tmp_path).write(checkpoint())
    read = CheckpointFile(tmp_path).read()
    assert (read.origin, read.limits, read.spent) == (ORIGIN, Limits(20, None), 12.5)
    assert read.states["schedule"].values == {"batches": 7, "validated": None}
    tensors = read.states["network"].tensors
    assert torch.equal(tensors["a"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(tensors["turned"], torch.arange(6.0).reshape(2, 3).T)
    assert read.states["schedule"].tensors == {}


def test_its_directory_is_hidden_and_gone_when_it_is_deleted(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "models")
    assert not file.exists
    file.write(checkpoint())
    assert [path.name for path in (tmp_path / "models").iterdir()] == [DIRECTORY] == [".training_checkpoint"]
    assert file.exists
    assert file.is_own
    file.delete()
    assert list((tmp_path / "models").iterdir()) == []
    assert not file.is_own


def test_without_one_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no interrupted training to resume\. Train without --resume"):
        CheckpointFile(tmp_path).read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"rubbish" * 10])
def test_one_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes) -> None:
    CheckpointFile(tmp_path).write(checkpoint())
    (tmp_path / DIRECTORY / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        CheckpointFile(tmp_path).read()


def test_a_failed_write_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = CheckpointFile(tmp_path)
    file.write(checkpoint(spent=1.0))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.write(checkpoint(spent=2.0))
    assert [path.name for path in file.directory.iterdir()] == [FILE]
    assert CheckpointFile(tmp_path).read().spent == 1.0


def test_only_one_training_writes_it(tmp_path: Path) -> None:
    mine = CheckpointFile(tmp_path)
    mine.write(checkpoint())
    script = (
        "import sys; from pathlib import Path; from nordiq_watch.training.checkpoint import CheckpointFile\n"
        "try: CheckpointFile(Path(sys.argv[1])).lock()\n"
        "except BlockingIOError: sys.exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 7
    mine.release()
    assert mine.exists
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 0


def test_each_difference_is_named() -> None:
    check_origin(checkpoint(), dict(ORIGIN))
    other = {"servers": 4, "metrics": ["cpu_user_pct", "mem_used_pct"], "training.seed": 42, "incremental_from": "x"}
    with pytest.raises(CheckpointError) as caught:
        check_origin(checkpoint(), other)
    assert "servers: 3 there and 4 here; metrics: cpu_user_pct there and cpu_user_pct, mem_used_pct here" in str(
        caught.value
    )
    assert "incremental from: None there and x here" in str(caught.value)
    assert "seed" not in str(caught.value)
