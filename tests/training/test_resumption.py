from __future__ import annotations

from pathlib import Path

import pytest
from support.small_fleet import TINY, fleet_of, series_of, wavy

from nordiq_watch.errors import CheckpointError
from nordiq_watch.training.budget import DEFAULT_SECONDS, Limits
from nordiq_watch.training.checkpoint import Checkpoint, CheckpointFile, check_origin
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.origin import describe_origin
from nordiq_watch.training.resumption import explain_failure, find_limits, open_checkpoint

OLD = Checkpoint(origin={}, limits=Limits(20, 600.0), spent=200.0, states={})


@pytest.mark.parametrize(
    ("epochs", "max_seconds", "limits"),
    [
        (None, None, Limits(20, 600.0)),
        (None, 60.0, Limits(None, 260.0)),
        (30, None, Limits(30, None)),
        (30, 60.0, Limits(30, 260.0)),
    ],
)
def test_a_resumed_training_keeps_its_limits_unless_others_are_given(
    epochs: int | None, max_seconds: float | None, limits: Limits
) -> None:
    assert find_limits(OLD, epochs, max_seconds=max_seconds, setting=5.0) == limits


def test_a_new_training_has_the_setting_and_the_default() -> None:
    assert find_limits(None, None, max_seconds=None, setting=None) == Limits(None, DEFAULT_SECONDS)
    assert find_limits(None, None, max_seconds=9.0, setting=5.0) == Limits(None, 5.0)


def test_a_new_training_says_that_it_replaces_an_interrupted_one(tmp_path: Path) -> None:
    lines: list[str] = []
    assert open_checkpoint(CheckpointFile(tmp_path), resume=False, report=lines.append) is None
    assert lines == []
    CheckpointFile(tmp_path).write(OLD)
    assert open_checkpoint(CheckpointFile(tmp_path), resume=False, report=lines.append) is None
    (line,) = lines
    assert line.startswith(f"{tmp_path / '.training_checkpoint'} holds an interrupted training: --resume goes on")


def test_one_that_still_runs_is_not_resumed(tmp_path: Path) -> None:
    running = CheckpointFile(tmp_path)
    running.write(OLD)
    with pytest.raises(CheckpointError, match="still running"):
        open_checkpoint(CheckpointFile(tmp_path), resume=True, report=print)


def origin_of(data: FleetData) -> dict[str, object]:
    return describe_origin(data, TINY, per_server=False, predecessor=None)


def test_the_same_data_elsewhere_are_the_same(tmp_path: Path) -> None:
    data = fleet_of(series_of(wavy(60)))
    moved = FleetData(tmp_path, data.metrics, data.interval_seconds, data.series, ("a repair",))
    assert origin_of(moved) == origin_of(data)


def test_a_checkpoint_of_the_same_origin_fits(tmp_path: Path) -> None:
    origin = origin_of(fleet_of(series_of(wavy(60))))
    CheckpointFile(tmp_path).write(Checkpoint(origin, Limits(), 0.0, {}))
    check_origin(CheckpointFile(tmp_path).read(), origin)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (fleet_of(series_of(wavy(61))), "slots: 60 there and 61 here; newest sample: 2025-01-06T04:55:00+00:00 there"),
        (fleet_of(series_of(wavy(60)), series_of(wavy(60), server="b")), "servers: 1 there and 2 here"),
        (fleet_of(series_of(wavy(60, metrics=1))), "metrics: cpu_user_pct, mem_used_pct there and cpu_user_pct here"),
        (fleet_of(series_of(wavy(60, seed=1))), "dataset sha256: "),
    ],
)
def test_other_data_are_named(other: FleetData, difference: str) -> None:
    begun = Checkpoint(origin_of(fleet_of(series_of(wavy(60)))), Limits(), 0.0, {})
    with pytest.raises(CheckpointError, match=difference.replace("+", r"\+")):
        check_origin(begun, origin_of(other))


def test_a_model_that_cannot_be_written_says_where_the_weights_are() -> None:
    error = OSError(28, "No space left on device")
    assert "No space left on device). The best weights are in kept:" in explain_failure(
        Path("models"), error, kept=Path("kept")
    )
    assert "There is no checkpoint either" in explain_failure(Path("models"), error, kept=None)
