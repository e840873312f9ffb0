"""What may be derived from a target; test_derived_networks.py compares the numbers with a slow version."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace
from support.networks import network_spec, with_network

from nordiq_watch.network.derived_inputs import (
    lag_inputs,
    lag_kinds,
    lag_slots,
    reads_back,
    relate,
    split_name,
    summarise,
    summary_inputs,
)
from nordiq_watch.spec import ModelSpec

TARGETS = ("cpu_user_pct", "mem_used_pct")


def reading(*, past: tuple[str, ...] = (), ahead: tuple[str, ...] = (), interval_seconds: int = 300) -> ModelSpec:
    """A spec with an encoder of 12 whose parts read these lags of the first target."""
    spec = replace(network_spec(), interval_seconds=interval_seconds)
    return with_network(
        spec,
        time_varying_reals_encoder=(*spec.network.time_varying_reals_encoder, *lag_inputs(TARGETS[:1], past)),
        time_varying_reals_decoder=(*spec.network.time_varying_reals_decoder, *lag_inputs(TARGETS[:1], ahead)),
    )


def test_a_name_is_a_target_and_a_kind() -> None:
    assert split_name("cpu_user_pct_day_before", TARGETS) == ("cpu_user_pct", "day_before")
    assert split_name("load_average_day_before", TARGETS) is None
    assert split_name("cpu_user_pct", TARGETS) is split_name("hour_sin", TARGETS) is None
    assert all(split_name(name, TARGETS) for name in (*lag_inputs(TARGETS), *summary_inputs(TARGETS)))
    assert lag_kinds(lag_inputs(TARGETS, ["week_before"]), TARGETS) == ("week_before",)


@pytest.mark.parametrize(
    ("spec", "slots"),
    [
        (reading(), 12),
        (reading(ahead=("day_before",)), 288),
        (reading(ahead=("day_before", "week_before")), 2016),
        (reading(past=("day_before",), ahead=("day_before",)), 12 + 288),
        (reading(past=("day_before",), ahead=("day_before", "week_before")), 2016),
        (reading(past=("week_before",), ahead=("week_before",)), 12 + 2016),
        (reading(ahead=("day_before",), interval_seconds=14_400), 12),
    ],
)
def test_how_far_back_a_model_reads(spec: ModelSpec, slots: int) -> None:
    assert reads_back(spec) == slots


def test_a_lag_is_at_least_a_slot() -> None:
    assert lag_slots("day_before", 60) == 1440
    assert lag_slots("day_before", 86_400) == lag_slots("day_before", 200_000) == 1


def test_differences_are_limited_and_unknown_ones_are_none() -> None:
    values = torch.tensor([[5.0, 3.0, float("nan"), 500.0, -500.0, float("inf")]])
    related = relate(values, last=torch.tensor([[3.0]]), scale=torch.tensor([[0.5]]))
    assert related.tolist() == [[4.0, 0.0, 0.0, 10.0, -10.0, 10.0]]


def test_a_window_in_which_nothing_moved_says_nothing() -> None:
    values, scale = torch.full((1, 20), 7.0, requires_grad=True), torch.full((1, 1), 1.2e-7)
    found = summarise(values, lengths=torch.tensor([20]), scale=scale, interval_seconds=300)
    assert [f"cpu_{kind}" for kind in found] == summary_inputs(["cpu"])
    for summary in found.values():
        assert summary.tolist() == [[0.0]]
        (gradient,) = torch.autograd.grad(summary.sum(), values, retain_graph=True)
        assert gradient.isfinite().all()


def test_a_shorter_encoder_is_summarised_as_it_is() -> None:
    values, scale = torch.tensor([[1.0, 2.0, 6.0, 99.0]]), torch.tensor([[2.0]])
    shorter = torch.tensor([3])
    found = summarise(values, lengths=shorter, scale=scale, interval_seconds=300)
    assert found["mean_6h"].tolist() == found["mean_encoder"].tolist() == [[-1.5]]  # 1, 2 and 6: 3 below the last one
    hourly = summarise(values, lengths=shorter, scale=scale, interval_seconds=1800)
    assert hourly["mean_1h"].tolist() == [[-1.0]]
    assert hourly["spread_1h"].tolist() == [[1.0]]


@pytest.mark.parametrize("lengths", [[30] * 5, [17] * 5, [30, 1, 5, 12, 29]], ids=["whole", "equal", "unlike"])
def test_servers_are_summarised_one_by_one(lengths: list[int]) -> None:
    """An hour is 6 slots, six hours are 36: more than there are."""
    generator = torch.Generator().manual_seed(0)
    values, scale = torch.randn(5, 30, generator=generator), torch.rand(5, 1, generator=generator) + 0.1
    found = summarise(values, lengths=torch.tensor(lengths), scale=scale, interval_seconds=600)
    for row, length in enumerate(lengths):
        past = values[row, :length].double()
        hour, divisor = past[-6:], float(scale[row])
        exact = {
            "mean_1h": (hour.mean() - past[-1]) / divisor,
            "mean_6h": (past.mean() - past[-1]) / divisor,
            "mean_encoder": (past.mean() - past[-1]) / divisor,
            "spread_1h": hour.std(correction=0) / divisor,
        }
        for kind, expected in exact.items():
            assert float(found[kind][row]) == pytest.approx(float(expected.clamp(-10, 10)), rel=1e-6, abs=1e-6)


def test_only_what_was_asked_for_is_computed() -> None:
    found = summarise(
        torch.rand(2, 9), lengths=torch.tensor([9, 4]), scale=torch.ones(2, 1), interval_seconds=300, kinds=["mean_6h"]
    )
    assert list(found) == ["mean_6h"]
