from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.specs import small_spec

from nordiq_watch.ingest.warmup import Requirement, Warmup, count_ready, count_samples, measure_warmup, requirement_of
from nordiq_watch.ingest.window import Window
from nordiq_watch.network.features import Features

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
                False, 75.0, 4, 3, 4, "Warming up: the furthest of 2 servers has 3 of 4 samples, 1 are still missing."
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
    assert measure_warmup(counted, NEEDED) == expected
    assert (count_ready(counted, NEEDED) > 0) is expected.is_warmed_up
