"""Explanations of a real network with random weights, against the library and against the network itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.extras import random_extras, with_extras
from support.networks import busy_values, network_spec, random_weights, raw_tensors, snapshot_of, with_network

from nordiq_watch.network.attribution import COMPLETENESS
from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.derived_inputs import lag_inputs, summary_inputs
from nordiq_watch.network.explainer import Explanation
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.spec import CenterScale, ModelSpec, TargetNormalizer

pytestmark = pytest.mark.slow

STEP = 2
NAN = float("nan")


def make_predictor(spec: ModelSpec | None = None, *, seed: int = 0) -> Predictor:
    spec = spec or network_spec()
    return Predictor(spec, raw_tensors(random_weights(spec, seed=seed)), device="cpu")


def explain(values: Any = None, *, predictor: Predictor | None = None, row: int = 1, **options: Any) -> Explanation:
    window = snapshot_of(busy_values(3, 12) if values is None else values)
    chosen: dict[str, Any] = {"target": "mem_used_pct", "step": STEP} | options
    return (predictor or make_predictor()).explain(window, row, **chosen)


NORMALIZERS = {
    "measured on each encoder": TargetNormalizer(kind="encoder", transformation="relu", center_length=1),
    "robust": TargetNormalizer(kind="encoder", method="robust", transformation="softplus"),
    "a table": TargetNormalizer(
        kind="group", transformation="softplus", groups={"ppdb001": CenterScale(30.0, 9.0)}, missing=CenterScale(20, 5)
    ),
    "one for all": TargetNormalizer(kind="fixed", missing=CenterScale(25.0, 8.0)),
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_contributions_add_up_to_the_difference_from_the_baseline(name: str) -> None:
    spec = network_spec(target_normalizers=dict.fromkeys(("cpu_user_pct", "mem_used_pct"), NORMALIZERS[name]))
    explained = explain(predictor=make_predictor(spec))
    total = sum(float(part.sum()) for part in explained.contributions.values()) + sum(explained.calendar.values())
    assert total == pytest.approx(explained.forecast - explained.baseline, rel=COMPLETENESS, abs=1e-3)
    assert explained.completeness_error <= COMPLETENESS
    assert abs(total) > 0.01


def test_what_is_derived_from_the_past_counts_as_the_past() -> None:
    """Hourly slots: the days before the horizon's steps lie in an encoder of 24, those before its own slots do not."""
    spec = network_spec(interval_seconds=3600, max_encoder_length=24, min_encoder_length=12)
    static, known = summary_inputs(spec.targets), lag_inputs(spec.targets, ["day_before"])
    network = spec.network
    spec = with_network(
        spec,
        x_reals=(*network.x_reals, *static, *known),
        static_reals=(*network.static_reals, *static),
        time_varying_reals_encoder=(*network.time_varying_reals_encoder, *known),
        time_varying_reals_decoder=(*network.time_varying_reals_decoder, *known),
    )
    predictor, values = make_predictor(spec), busy_values(3, 60)
    values[1, -20:-17] = NAN
    window = snapshot_of(values, interval_seconds=3600)
    explained = predictor.explain(window, 1, target="mem_used_pct", step=STEP)
    total = sum(float(part.sum()) for part in explained.contributions.values()) + sum(explained.calendar.values())
    assert total == pytest.approx(explained.forecast - explained.baseline, rel=COMPLETENESS, abs=1e-3)
    assert explained.forecast == pytest.approx(float(predictor.predict(window).values[1, 1, STEP, 1]), abs=1e-4)
    assert set(known) <= explained.decoder_weights.keys()


def test_what_is_explained_is_what_is_forecast() -> None:
    predictor, values = make_predictor(), busy_values(3, 12)
    forecast = predictor.predict(snapshot_of(values)).values[1, 1, STEP, 1]
    assert explain(values, predictor=predictor).forecast == pytest.approx(float(forecast), abs=1e-4)
    constant = values.copy()
    constant[1] = constant[1].mean(axis=0)
    as_always = predictor.predict(snapshot_of(constant)).values[1, 1, STEP, 1]
    explained = explain(values, predictor=predictor)
    assert explained.baseline == pytest.approx(float(as_always), abs=0.5)  # but for the calendar, which says nothing


@pytest.mark.parametrize("member", ["linear", "rows"])
def test_with_extras_the_explained_forecast_is_the_blend_s(member: str) -> None:
    spec = with_extras(members=(member,))
    tensors = random_extras(spec)
    predictor = Predictor(spec, raw_tensors(random_weights(spec)), device="cpu", extras=raw_tensors(tensors))
    values = busy_values(3, 12)
    explained = explain(values, predictor=predictor)
    forecast = predictor.predict(snapshot_of(values)).values[1, 1, STEP, 1]
    assert explained.forecast == pytest.approx(float(forecast), abs=1e-4)
    total = sum(float(part.sum()) for part in explained.contributions.values()) + sum(explained.calendar.values())
    assert total == pytest.approx(explained.forecast - explained.baseline, rel=COMPLETENESS, abs=1e-3)
    assert explained.members == dict(zip(("network", member), tensors["blend"][:, 1, STEP].tolist(), strict=True))
    assert explain(values).members == {"network": 1.0}


def test_all_weight_on_a_linear_member_is_explained_by_it_alone() -> None:
    spec = with_extras()
    tensors = random_extras(spec)
    tensors["blend"] = torch.stack([torch.zeros(2, 4), torch.ones(2, 4)])
    explanations = [
        explain(
            predictor=Predictor(
                spec, raw_tensors(random_weights(spec, seed=seed)), device="cpu", extras=raw_tensors(tensors)
            )
        )
        for seed in (1, 2)
    ]
    for metric in ("cpu_user_pct", "mem_used_pct"):
        one, other = (explained.contributions[metric] for explained in explanations)
        np.testing.assert_array_equal(one, other)
    assert set(explanations[0].calendar.values()) == {0.0}


def test_a_past_without_events_moves_nothing() -> None:
    values = busy_values(3, 12)
    values[1] = [30.0, 60.0]
    explained = explain(values)
    assert all(np.abs(part).max() < 1e-4 for part in explained.contributions.values())


def test_a_metric_that_lies_flat_for_as_long_as_its_scale_is_measured() -> None:
    lengths = TargetNormalizer(kind="encoder", center_length=1, scale_length=4)
    spec = network_spec(target_normalizers=dict.fromkeys(("cpu_user_pct", "mem_used_pct"), lengths))
    values = busy_values(3, 12)
    values[1, -4:, 0] = 33.3
    explained = explain(values, predictor=make_predictor(spec))
    assert explained.completeness_error <= COMPLETENESS
    assert all(np.isfinite(part).all() for part in explained.contributions.values())


def test_an_event_is_found_where_it_is() -> None:
    """With a fixed scale the network sees the jump itself: the contribution lies where the jump is."""
    spec = network_spec(target_normalizers=dict.fromkeys(("cpu_user_pct", "mem_used_pct"), NORMALIZERS["one for all"]))
    values = busy_values(3, 12)
    values[1] = [30.0, 60.0]
    values[1, 7, 0] = 95
    explained = explain(values, predictor=make_predictor(spec))
    assert int(np.abs(explained.contributions["cpu_user_pct"]).argmax()) == 7
    assert np.abs(explained.contributions["mem_used_pct"]).max() < 1e-4


def test_attention_and_weights_are_the_network_s() -> None:
    predictor, values = make_predictor(), busy_values(3, 12)
    explained = explain(values, predictor=predictor)
    inputs = predictor._features.build(snapshot_of(values), np.array([1]))
    with torch.no_grad():
        _, insight = predictor._network.look_inside(
            inputs.encoder_cat, inputs.encoder_cont, inputs.encoder_lengths, inputs.decoder_cat, inputs.decoder_cont
        )
    np.testing.assert_allclose(explained.attention, insight.attention[0, STEP, :12])
    assert 0 < explained.attention.sum() <= 1
    assert list(explained.encoder_weights) == ["status", *CALENDAR, "relative_time_idx", "cpu_user_pct", "mem_used_pct"]
    assert sum(explained.encoder_weights.values()) == pytest.approx(1, abs=1e-5)
    assert set(explained.calendar) == set(CALENDAR)


def test_a_short_history_is_explained_for_the_slots_that_it_has() -> None:
    values = busy_values(3, 12)
    values[1, :5] = NAN
    values[1, 8, 1] = NAN
    explained = explain(values)
    assert len(explained.attention) == len(explained.contributions["cpu_user_pct"]) == 7
    assert explained.completeness_error <= COMPLETENESS


def test_other_weights_other_reasons() -> None:
    one, other = explain(predictor=make_predictor(seed=1)), explain(predictor=make_predictor(seed=2))
    assert not np.allclose(one.attention, other.attention)
    assert not np.allclose(one.contributions["cpu_user_pct"], other.contributions["cpu_user_pct"])


def test_every_target_and_step_has_its_own() -> None:
    found = {
        (target, step): float(explain(target=target, step=step).contributions["cpu_user_pct"].sum())
        for target in ("cpu_user_pct", "mem_used_pct")
        for step in (0, 3)
    }
    assert len(set(found.values())) == 4


def test_explaining_leaves_no_trace_in_the_network() -> None:
    predictor, window = make_predictor(), snapshot_of(busy_values(3, 12))
    before = predictor.predict(window).values
    explain(predictor=predictor)
    assert not any(parameter.requires_grad for parameter in predictor._network.parameters())
    np.testing.assert_array_equal(predictor.predict(window).values, before)
