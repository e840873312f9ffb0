from __future__ import annotations

import numpy as np
import torch
from support.extras import random_extras, state_linear, with_extras
from support.networks import A_MONDAY, busy_values, network_spec

from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.linear import LinearMember
from nordiq_watch.network.terms.scaled_past import scale_past


def member_of() -> tuple[LinearMember, dict[str, torch.Tensor]]:
    spec = with_extras()
    tensors = {name: tensor for name, tensor in random_extras(spec).items() if name.startswith("linear.")}
    return LinearMember.from_tensors(spec, tensors), tensors


def history_of(values: np.ndarray, *, last_slots: tuple[int, ...] = (A_MONDAY,)) -> HistoryInputs:
    lengths = torch.full((len(values),), values.shape[1])
    return HistoryInputs(torch.from_numpy(values), lengths, torch.tensor(last_slots))


def test_windows_of_one_batch_may_end_at_different_times() -> None:
    member, tensors = member_of()
    exact = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    values, ends = busy_values(3, 12), (A_MONDAY, A_MONDAY + 1, A_MONDAY + 100)
    forecast = member.quantiles(history_of(values, last_slots=ends))
    stated = [state_linear(with_extras(), exact, values[row], last_slot=end) for row, end in enumerate(ends)]
    np.testing.assert_allclose(forecast.numpy(), stated, rtol=2e-6, atol=2e-5)


def test_a_metric_that_is_read_but_not_forecast_is_left_out() -> None:
    spec = with_extras(network_spec(targets=["cpu_user_pct"], metrics=("cpu_user_pct", "mem_used_pct")))
    member = LinearMember.from_tensors(
        spec, {name: tensor for name, tensor in random_extras(spec).items() if name.startswith("linear.")}
    )
    values = busy_values(2, 12)
    other = values.copy()
    other[..., 1] += 30
    assert torch.equal(member.quantiles(history_of(values)), member.quantiles(history_of(other)))


def test_it_carries_over_to_any_level_and_any_unit() -> None:
    """Changes are the same for a window in other units, as long as its scale is far above the floor."""
    values, floor = busy_values(2, 12), torch.full((2,), 1e-6)
    pasts = [
        scale_past(history_of(array), slots=12, floor=floor) for array in (values, (values * 1000).astype(np.float32))
    ]
    torch.testing.assert_close(pasts[0].changes, pasts[1].changes, rtol=1e-4, atol=1e-4)


def test_a_window_of_zeros_has_finite_forecasts_and_gradients() -> None:
    member, _ = member_of()
    history = history_of(np.zeros((1, 12, 2), np.float32))
    values = history.values.requires_grad_(True)
    forecast = member.quantiles(history)
    (gradient,) = torch.autograd.grad(forecast.sum(), values)
    assert bool(torch.isfinite(forecast).all())
    assert bool(torch.isfinite(gradient).all())


def test_the_largest_measurements_that_are_taken_are_forecast() -> None:
    member, _ = member_of()
    values = (busy_values(2, 12) / 100 * 1e12).astype(np.float32)
    assert bool(torch.isfinite(member.quantiles(history_of(values))).all())
