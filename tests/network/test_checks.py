from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest
from support.networks import network_spec, with_network

from nordiq_watch.network.checks import UnusableSpec, check_spec, required_samples
from nordiq_watch.network.derived_inputs import lag_inputs, summary_inputs
from nordiq_watch.spec import CategoricalEncoder, CenterScale, FleetCalendar, ModelSpec, RealScaler, TargetNormalizer

SPEC = network_spec()
CPU, MEM = SPEC.targets
TABLE = TargetNormalizer(kind="group", groups={"ppdb001": CenterScale(1.0, 2.0)}, missing=CenterScale(1.0, 2.0))


def normalized(normalizer: TargetNormalizer, **changes: Any) -> ModelSpec:
    return network_spec(target_normalizers=SPEC.target_normalizers | {CPU: normalizer}, **changes)


def encoders(**changes: CategoricalEncoder) -> ModelSpec:
    return network_spec(categorical_encoders=SPEC.categorical_encoders | changes)


def replaced(normalizer: TargetNormalizer, **changes: Any) -> ModelSpec:
    return normalized(msgspec.structs.replace(normalizer, **changes))


def without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def with_real(name: str, *lists: str) -> ModelSpec:
    network = SPEC.network
    changes = {key: (*getattr(network, key), name) for key in lists}
    return with_network(SPEC, x_reals=(*network.x_reals, name), **changes)


GOOD = {
    "the trainer's": SPEC,
    "a table": normalized(TABLE),
    "a fixed scale": normalized(TargetNormalizer(kind="fixed", missing=CenterScale(0.0, -1.0))),
    "a scale that needs no deviation": network_spec(
        target_normalizers=dict.fromkeys((CPU, MEM), TargetNormalizer(kind="encoder", method="identity")),
        min_encoder_length=1,
    ),
    "a metric that is only read": msgspec.structs.replace(
        with_real("load_average", "time_varying_reals_encoder"), metrics=(CPU, MEM, "load_average")
    ),
    "a zone and holidays": network_spec(calendar=FleetCalendar(zone="America/New_York", holidays=(date(2024, 7, 4),))),
    "derived inputs": with_network(
        SPEC,
        x_reals=(*SPEC.network.x_reals, *lag_inputs(SPEC.targets), *summary_inputs(SPEC.targets)),
        static_reals=(*SPEC.network.static_reals, *summary_inputs(SPEC.targets)),
        time_varying_reals_encoder=(*SPEC.network.time_varying_reals_encoder, *lag_inputs(SPEC.targets)),
        time_varying_reals_decoder=(*SPEC.network.time_varying_reals_decoder, *lag_inputs(SPEC.targets)),
    ),
    "no labels": with_network(
        network_spec(categorical_encoders={}),
        x_categoricals=(),
        embedding_sizes={},
        static_categoricals=(),
        time_varying_categoricals_encoder=(),
    ),
}

BAD = {
    "a summary over time": (with_real("cpu_user_pct_mean_1h", "time_varying_reals_decoder"), "possible there"),
    "a lag that never changes": (with_real("cpu_user_pct_day_before", "static_reals"), "possible there"),
    "a lag of no target": (with_real("load_average_day_before", "time_varying_reals_decoder"), "possible there"),
    "a metric with the name of an input": (
        network_spec(metrics=(CPU, MEM, "cpu_user_pct_day_before")),
        "metrics names cpu_user_pct_day_before, but that is an input derived from cpu_user_pct",
    ),
    "a zone that there is not": (
        network_spec(calendar=FleetCalendar(zone="Europe/Berln")),
        "calendar.zone is 'Europe/Berln'",
    ),
    "a path for a zone": (
        network_spec(calendar=FleetCalendar(zone="../etc/passwd")),
        "calendar.zone is '../etc/passwd'",
    ),
    "a gigantic network": (with_network(SPEC, lstm_layers=1_000_000), "network.lstm_layers is 1000000"),
    "a gigantic horizon": (network_spec(max_prediction_length=10**8), "max_prediction_length is 100000000"),
    "more heads than sizes": (with_network(SPEC, attention_head_size=9), "attention_head_size is larger"),
    "a minimum above the maximum": (network_spec(min_encoder_length=13), "min_encoder_length is 13"),
    "no target": (network_spec(targets=[]), "must not be empty"),
    "quantiles out of order": (network_spec(quantiles=(0.5, 0.1, 0.9)), "quantiles must ascend"),
    "a quantile twice": (network_spec(quantiles=(0.1, 0.5, 0.5)), "quantiles must ascend"),
    "an output for each of other quantiles": (network_spec(quantiles=(0.1, 0.9)), r"need \[2, 2\]"),
    "an output too few": (with_network(SPEC, output_size=(3,)), r"output_size is \[3\]"),
    "metrics in another order": (network_spec(metrics=(MEM, CPU)), "metrics must begin with the targets"),
    "a metric twice": (network_spec(metrics=(CPU, MEM, MEM)), "metrics names an input twice"),
    "a name that torch needs": (network_spec(metrics=(CPU, MEM, "cpu")), "'cpu' cannot be the name"),
    "a name with a dot": (network_spec(metrics=(CPU, MEM, "a.b")), "'a.b' cannot be the name"),
    "an input that nobody knows": (with_real("temperature", "time_varying_reals_encoder"), "names temperature"),
    "a metric of the future": (
        with_network(SPEC, time_varying_reals_decoder=(*SPEC.network.time_varying_reals_decoder, CPU)),
        "time_varying_reals_decoder names cpu_user_pct",
    ),
    "a status of the future": (
        with_network(SPEC, time_varying_categoricals_decoder=("status",)),
        "time_varying_categoricals_decoder names status",
    ),
    "a static metric": (with_network(SPEC, static_reals=(CPU,)), "static_reals names cpu_user_pct"),
    "an input that is not in x_reals": (
        with_network(SPEC, x_reals=SPEC.network.x_reals[1:]),
        "static_reals names encoder_length",
    ),
    "a label that nobody knows": (
        with_network(SPEC, x_categoricals=("profile", "status", "region")),
        "x_categoricals names region",
    ),
    "a label without encoder": (
        network_spec(categorical_encoders=without(SPEC.categorical_encoders, "status")),
        "categorical_encoders has none for status",
    ),
    "a label without embedding": (
        with_network(SPEC, embedding_sizes={"profile": (3, 2)}),
        r"embedding_sizes has \['profile'\]",
    ),
    "more classes than embeddings": (
        encoders(profile=CategoricalEncoder(classes=("a", "b", "c", "d"))),
        "profile has 4 classes, its embedding 3",
    ),
    "a code above the classes": (
        encoders(profile=CategoricalEncoder(classes=("a", "b", "c"), unknown_code=3)),
        "unknown_code is 3",
    ),
    "a scale of zero": (
        network_spec(real_scalers={"hour_sin": RealScaler(center=0.0, scale=0.0)}),
        "real_scalers.hour_sin cannot scale",
    ),
    "a centre that is no number": (
        network_spec(real_scalers={"hour_sin": RealScaler(center=float("nan"))}),
        "real_scalers.hour_sin cannot scale",
    ),
    "a target with a scaler": (network_spec(real_scalers={CPU: RealScaler()}), "scaled by its normalizer alone"),
    "a fill value that is no number": (network_spec(fill_values={CPU: float("inf")}), "fill_values.cpu_user_pct"),
    "a target without normalizer": (
        network_spec(target_normalizers=without(SPEC.target_normalizers, MEM)),
        "target_normalizers has none for mem_used_pct",
    ),
    "a table without the missing": (replaced(TABLE, missing=None), "needs `missing`"),
    "a table with a scale of zero": (
        replaced(TABLE, groups={"ppdb001": CenterScale(1.0, 0.0)}),
        "groups.ppdb001 cannot scale",
    ),
    "a table with a scale that float32 takes for zero": (
        replaced(TABLE, missing=CenterScale(1.0, 1e-60)),
        "missing cannot scale",
    ),
    "an output table with a centre beyond float32": (
        replaced(TABLE, output_groups={"ppdb001": CenterScale(1e39, 1.0)}),
        "output_groups.ppdb001 cannot scale",
    ),
    "a deviation of one value": (
        normalized(TargetNormalizer(kind="encoder", scale_length=1)),
        "measures a scale on 1 value",
    ),
    "a deviation of a history of one": (
        normalized(TargetNormalizer(kind="encoder"), min_encoder_length=1),
        "measures a scale on 1 value",
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_spec_that_can_be_built_passes(name: str) -> None:
    check_spec(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_spec_that_cannot_be_built_is_refused_in_one_line(name: str) -> None:
    spec, problem = BAD[name]
    with pytest.raises(UnusableSpec, match=problem) as refusal:
        check_spec(spec)
    assert str(refusal.value).startswith("config.json: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("minimum", "longest", "required"), [(None, 288, 144), (None, 9, 4), (None, 1, 1), (6, 12, 6)])
def test_half_of_the_encoder_is_required_unless_the_model_says_otherwise(
    minimum: int | None, longest: int, required: int
) -> None:
    spec = network_spec(min_encoder_length=minimum, max_encoder_length=longest)
    assert required_samples(spec) == required
