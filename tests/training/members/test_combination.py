"""Weights and factors, found on forecasts whose right answer is known."""

from __future__ import annotations

from statistics import NormalDist

import pytest
import torch

from nordiq_watch.training.members.combination import calibrate, fit_blend

LEVELS = (0.1, 0.5, 0.9)
WINDOWS, TARGETS, HORIZON = 800, 2, 12
BAND = torch.tensor([NormalDist().inv_cdf(level) for level in LEVELS])


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def around(centre: torch.Tensor, width: float = 1.0) -> torch.Tensor:
    return centre[..., None] + width * BAND


def test_a_member_that_knows_takes_nearly_all_the_weight_where_it_knows() -> None:
    known = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=0)
    truth = known + noise(*known.shape, seed=1)
    ignorant = around(torch.zeros_like(known), 10)
    knows_cpu, knows_memory = ignorant.clone(), ignorant.clone()
    knows_cpu[:, 0], knows_memory[:, 1] = around(known)[:, 0], around(known)[:, 1]
    weights = fit_blend(torch.stack([knows_cpu, knows_memory]), truth, LEVELS)
    assert float(weights[0, 0].min()) > 0.9
    assert float(weights[1, 1].min()) > 0.9
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(TARGETS, HORIZON))


def test_members_that_are_equally_good_count_equally() -> None:
    known = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=0)
    truth = known + 0.1 * noise(*known.shape, seed=1)
    members = torch.stack([around(known + noise(*known.shape, seed=seed)) for seed in (2, 3, 4)])
    weights = fit_blend(members, truth, LEVELS)
    assert float((weights - 1 / 3).abs().max()) < 0.1


def test_the_fewer_slots_are_forecast_the_more_the_expected_weights_count_and_most_at_the_last_step() -> None:
    known = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=0)
    truth = known + noise(*known.shape, seed=1)
    noisy = around(known + 0.7 * noise(*known.shape, seed=2), 1.22)
    members, expected = torch.stack([around(known), noisy]), (0.1, 0.9)
    many, few, none = (fit_blend(members, truth, LEVELS, expected=expected, slots=n)[0] for n in (1e6, 150, 1e-6))
    assert float(many.min()) > 0.8, "what is expected does not outweigh many windows"
    assert bool((few[:, -1] < many[:, -1] - 0.2).all())
    assert bool((few[:, 0] > few[:, -1] + 0.2).all()), "windows overlap less at the first step"
    torch.testing.assert_close(none, torch.full_like(none, 0.1), atol=0.01, rtol=0.0)


def test_a_member_that_adds_nothing_but_noise_is_left_out() -> None:
    """The pull towards equal weights must not outweigh what the windows say."""
    known = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=0)
    truth = known + noise(*known.shape, seed=1)
    noisy = around(known + 0.7 * noise(*known.shape, seed=2), 1.22)  # as wide as its errors
    weights = fit_blend(torch.stack([around(known), noisy]), truth, LEVELS)
    assert float(weights[1].mean()) < 0.1


def test_a_target_in_large_units_decides_nothing_for_the_others() -> None:
    known = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=0)
    truth = known + noise(*known.shape, seed=1)
    members = torch.stack([around(known), around(torch.zeros_like(known), 10)])
    scales = torch.tensor([1.0, 1e6])[:, None]
    weights = fit_blend(members, truth, LEVELS)
    scaled = fit_blend(members * scales[..., None], truth * scales, LEVELS)
    torch.testing.assert_close(weights, scaled, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_bands_that_are_too_narrow_or_too_wide_hold_their_share_afterwards(width: float) -> None:
    centre = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=0)
    factors = calibrate(around(centre, width), centre + noise(*centre.shape, seed=1), LEVELS)
    assert bool((factors[..., 1] == 1).all())
    later = 10 * noise(WINDOWS, TARGETS, HORIZON, seed=2)
    truth = later + noise(*later.shape, seed=3)
    band = later[..., None] + factors * (around(later, width) - later[..., None])
    inside = (truth >= band[..., 0]) & (truth <= band[..., 2])
    assert float(inside.float().mean(dim=0).min()) > 0.75
    assert float(inside.float().mean(dim=0).max()) < 0.85
    assert float(inside.float().mean()) == pytest.approx(0.8, abs=0.01)


def test_the_factor_is_the_conformal_quantile_of_the_scores_of_both_sides() -> None:
    truth = torch.arange(1.0, 20.0) * torch.tensor([-1.0, 1.0]).repeat(10)[:19]  # 1 to 19, above and below
    forecast = torch.tensor([-2.0, 0.0, 1.0]).expand(19, 1, 1, 3)  # a score counts half below the median
    factors = calibrate(forecast / 10, truth[:, None, None] / 100, LEVELS)
    scores = sorted([*(number / 20 for number in range(1, 20, 2)), *(number / 10 for number in range(2, 20, 2))])
    assert float(factors[0, 0, 0]) == float(factors[0, 0, 2]) == pytest.approx(scores[15])  # the ⌈20 · 0.8⌉-th


def test_what_was_never_measured_and_bands_without_width_keep_their_factors_at_one() -> None:
    forecast = torch.zeros(10, 1, 2, 3)
    truth = torch.full((10, 1, 2), torch.nan)
    assert bool((calibrate(forecast, truth, LEVELS) == 1).all())
    assert bool((calibrate(forecast, torch.ones(10, 1, 2), LEVELS) == 1).all())
