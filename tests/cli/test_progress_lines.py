from __future__ import annotations

from collections.abc import Sequence

from nordiq_watch.cli.progress_lines import ProgressLines


def lines_of(begin: float, shown: Sequence[tuple[float, float]]) -> list[str]:
    """shown: the time, and the share that is done then."""
    lines: list[str] = []
    times = iter([begin, *(at for at, _ in shown)])
    progress = ProgressLines("fetching", tell=lines.append, clock=lambda: next(times))
    for _, done in shown:
        progress.show(done)
    return lines


def test_a_line_every_half_minute_says_how_far_and_how_long() -> None:
    shown = [(101.0, 0.5), (129.0, 0.55), (131.0, 0.6), (140.0, 0.62), (161.0, 0.7), (200.0, 1.0)]
    lefts = ["60%, about 3 min left", "70%, about 2 min left", "100%, about 0 min left"]
    assert lines_of(100.0, shown) == [f"fetching: {left}" for left in lefts]


def test_without_progress_no_time_is_promised() -> None:
    assert lines_of(0.0, [(1.0, 0.0), (40.0, 0.0)]) == ["fetching: 0%"]
