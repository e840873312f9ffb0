from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.specs import small_spec

from nordiq_watch.ingest.warmup import (
    PaceLately,
    Requirement,
    Warmup,
    count_ready,
    count_samples,
    measure_warmup,
    requirement_of,
    warmup_in,
    warmup_of,
)
from nordiq_watch.ingest.window import Window
from nordiq_watch.network.features import Features
from nordiq_watch.records.arrays import BoolArray

NEEDED = Requirement(slots=8, samples=4, metrics=METRICS)


def make_window(length: int = 12) -> Window:
    return Window(METRICS, interval_seconds=300, length=length, max_servers=10, silent_seconds=900)


@pytest.mark.parametrize(
    ("encoder", "least", "samples"), [(8, None, 4), (9, None, 4), (8, 3, 3), (8, 8, 8), (1, None, 1)]
)
def test_a_model_needs_half_of_its_encoder_unless_it_says_otherwise(
    encoder: int, least: int | None, samples: int
) -> None:
    spec = small_spec(max_encoder_length=encoder, min_encoder_length=least)
    assert requirement_of(spec, make_window()) == Requirement(encoder, samples, ("cpu_user_pct",))


def test_without_a_model_half_of_the_window_counts() -> None:
    assert requirement_of(None, make_window(12)) == Requirement(12, 6, METRICS)


@pytest.mark.parametrize("metrics", [METRICS, METRICS[:1], METRICS[1:]])
def test_a_snapshot_and_the_window_count_the_same(metrics: tuple[str, ...]) -> None:
    window = make_window()
    window.apply(
        make_batch(
            [
                *[Sample("often", slot) for slot in range(100, 112)],
                *[Sample("sometimes", slot, {"mem_used_pct": 1.0}) for slot in range(100, 112, 2)],
                Sample("silent", 100),
            ]
        )
    )
    requirement = Requirement(slots=5, samples=2, metrics=metrics)
    counted = count_samples(window.snapshot(), requirement)
    assert counted.tolist() == window.samples_within(5, metrics).tolist()
    assert counted.tolist() == [5 if "cpu_user_pct" in metrics else 0, 2 if "mem_used_pct" in metrics else 0]


@settings(max_examples=60)
@given(
    metrics=st.sampled_from([METRICS, METRICS[:1]]),
    least=st.integers(1, 8) | st.none(),
    fed=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 14), st.sampled_from(METRICS)), min_size=1, max_size=40
    ),
)
def test_ready_is_who_the_network_calls_warm(
    metrics: tuple[str, ...], least: int | None, fed: list[tuple[str, int, str]]
) -> None:
    window = make_window()
    window.apply(make_batch([Sample(server, slot, {metric: 1.0}) for server, slot, metric in fed]))
    spec = small_spec(min_encoder_length=least, metrics=metrics)
    requirement = requirement_of(spec, window)
    ready = window.samples_within(requirement.slots, requirement.metrics) >= requirement.samples
    assert np.flatnonzero(ready).tolist() == Features(spec).warm_rows(window.snapshot()).tolist()


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (
            [],
            Warmup(False, 0.0, 4, 0, 4, "Waiting for data: no server was fed yet; a server needs 4 samples."),
        ),
        (
            [3, 1],
            Warmup(
                False,
                75.0,
                4,
                3,
                4,
                "Warming up: the furthest of 2 servers has 3 of 4 samples, 1 are still missing. "
                "That takes about 0.1 hours; `nordiq-watch import` of their history ends it sooner.",
            ),
        ),
        (
            [4, 0, 8],
            Warmup(True, 100.0, 4, 8, 4, "Warmed up: 2 of 3 servers have the 4 samples that a forecast needs."),
        ),
    ],
)
def test_the_warmup_is_over_with_the_first_ready_server(samples: list[int], expected: Warmup) -> None:
    counted = np.array(samples, dtype=np.int64)
    assert measure_warmup(counted, NEEDED, interval_seconds=300) == expected
    assert (count_ready(counted, NEEDED) > 0) is expected.is_warmed_up


DEFAULT = Requirement(slots=288, samples=144, metrics=METRICS)


def day_of(*paces: int, samples: int = 24) -> Window:
    """A window of a day; per pace, in slots, a server with up to this many samples of the newest day."""
    window = Window(METRICS, interval_seconds=300, length=288, max_servers=10, silent_seconds=900)
    fed = [
        Sample(f"s{number}", 1000 - step * pace)
        for number, pace in enumerate(paces)
        for step in range(samples)
        if step * pace < 288
    ]
    window.apply(make_batch(fed))
    return window


def message_of(window: Window, requirement: Requirement = DEFAULT) -> str:
    """Of the window; that of its snapshot is the same."""
    _, warmup = warmup_of(window, requirement)
    assert warmup_in(window.snapshot(), requirement) == warmup
    return warmup.message


@pytest.mark.parametrize(("pace", "seconds"), [(12, 3600), (6, 1800), (3, 900), (24, 7200)])
def test_a_pace_at_which_the_warmup_never_ends_is_told(pace: int, seconds: int) -> None:
    count = min(24, 288 // pace)
    assert message_of(day_of(pace, pace, pace)) == (
        f"Warming up: the furthest of 3 servers has {count} of 144 samples, {144 - count} are still missing. "
        f"Samples come every {seconds} s, the grid has 300 s: at this pace the warm-up never ends. "
        f"Feed more often, or set window.interval_seconds to {seconds} and train a model with it."
    )


def test_a_model_that_reads_less_than_the_pace_is_told_the_same() -> None:
    assert "every 3600 s, the grid has 300 s: at this pace" in message_of(day_of(12), Requirement(12, 6, METRICS))


@pytest.mark.parametrize("paces", [(1,), (2,), (12, 12, 1)])
def test_as_long_as_one_server_can_be_ready_nothing_is_said(paces: tuple[int, ...]) -> None:
    assert message_of(day_of(*paces)).endswith("ends it sooner.")


def test_of_three_samples_no_pace_is_known() -> None:
    assert message_of(day_of(12, samples=3)).endswith(
        "has 3 of 144 samples, 141 are still missing. That takes about 12 hours; "
        "`nordiq-watch import` of their history ends it sooner."
    )


def test_outages_are_no_pace() -> None:
    window = Window(METRICS, interval_seconds=300, length=288, max_servers=10, silent_seconds=900)
    window.apply(make_batch([Sample("a", slot) for slot in (800, 801, 802, 860, 861, 900, 901, 902, 980, 981)]))
    assert message_of(window).endswith("ends it sooner.")


def test_a_model_that_needs_every_slot_says_nothing_of_single_samples_that_lack() -> None:
    window = Window(METRICS, interval_seconds=300, length=288, max_servers=10, silent_seconds=900)
    window.apply(make_batch([Sample("a", slot) for slot in range(900, 1000) if slot % 10]))
    assert message_of(window, Requirement(288, 288, METRICS)).endswith("ends it sooner.")


def test_silent_servers_say_nothing_of_the_pace() -> None:
    window = day_of(12)
    window.apply(make_batch([Sample("gone", slot) for slot in range(900, 940)]))
    assert "at this pace" in message_of(window)


def test_once_a_server_is_ready_the_pace_of_others_is_no_matter() -> None:
    assert message_of(day_of(12, 1, samples=150)).startswith("Warmed up: 1 of 2 servers")


class Looked(Window):
    """Counts how often all of it was looked at."""

    looks = 0

    def presence(self) -> BoolArray:
        self.looks += 1
        return super().presence()


def test_many_batches_of_a_slot_cost_one_look_at_the_window_and_the_pace_is_told_with_the_next() -> None:
    window = Looked(METRICS, interval_seconds=300, length=288, max_servers=1000, silent_seconds=900)
    find_pace, told = PaceLately(), []
    for slot in range(1000, 1060, 12):
        for first in range(0, 100, 10):
            window.apply(make_batch([Sample(f"s{number}", slot) for number in range(first, first + 10)]))
            _, warmup = warmup_of(window, DEFAULT, find_pace=find_pace)
            told.append("at this pace" in warmup.message)
    assert told == [False] * 30 + [True] * 20, "from the fourth sample on: three gaps"
    looks, window.looks = window.looks, 0
    assert 0 < looks < 20, "fifty batches in five slots, and few doublings"
    window.apply(make_batch([Sample("s0", 1001)]))
    _, warmup = warmup_of(window, DEFAULT, find_pace=find_pace)
    assert (window.looks, "at this pace" in warmup.message) == (0, True)
    fast = [Sample(f"s{number}", slot) for slot in range(1000, 1049) for number in range(20)]
    window.apply(make_batch(fast))
    _, warmup = warmup_of(window, DEFAULT, find_pace=find_pace)
    assert (window.looks, "at this pace" in warmup.message) == (1, False), "twice the samples, although no slot began"
