"""Checks that a config.json describes a network that can be built, fed and read.

The file is untrusted input: every fact that the other modules of this folder rely on is checked here, before any memory
is allocated for the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from typing import Any

import numpy as np
from torch import nn

from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.derived_inputs import lag_inputs, split_name, summary_inputs
from nordiq_watch.spec import CategoricalEncoder, CenterScale, FleetCalendar, ModelSpec, TargetNormalizer
from nordiq_watch.zones import UnknownZone, find_zone

SERVER_LABELS = ("server_name", "profile")
STATUS = "status"
RELATIVE_TIME = "relative_time_idx"
ENCODER_LENGTH = "encoder_length"
SCALE_SUFFIXES = ("_center", "_scale")

_LIMITS = {
    "max_encoder_length": 100_000,
    "max_prediction_length": 10_000,
    "network.hidden_size": 16_384,
    "network.hidden_continuous_size": 16_384,
    "network.attention_head_size": 1_024,
    "network.lstm_layers": 64,
}


class UnusableSpec(ValueError):
    """A config.json that no network can be built from; the message names the key and the problem."""


def check_spec(spec: ModelSpec) -> None:
    """Raises UnusableSpec for the first problem found."""
    for problem in _problems(spec):
        raise UnusableSpec(f"config.json: {problem}")


def required_samples(spec: ModelSpec) -> int:
    """Minimum number of encoder slots with a sample before a server is forecast: half, unless the model sets it."""
    return spec.min_encoder_length or max(1, spec.max_encoder_length // 2)


def scale_inputs(targets: Iterable[str]) -> list[str]:
    """Names of the inputs that carry a target's scaling to the network: TARGET_center and TARGET_scale."""
    return [f"{target}{suffix}" for target in targets for suffix in SCALE_SUFFIXES]


def _problems(spec: ModelSpec) -> Iterator[str]:
    yield from _oversized(spec)
    yield from _wrong_lengths(spec)
    yield from _wrong_outputs(spec)
    yield from _wrong_names(spec)
    yield from _wrong_categoricals(spec)
    yield from _wrong_reals(spec)
    yield from _wrong_calendar(spec.calendar)
    for target in spec.targets:
        yield from _wrong_normalizer(target, spec)


def _oversized(spec: ModelSpec) -> Iterator[str]:
    for key, limit in _LIMITS.items():
        size = _value_at(spec, key)
        if size > limit:
            yield f"{key} is {size}, at most {limit} is possible"


def _value_at(spec: ModelSpec, key: str) -> int:
    value: Any = spec
    for part in key.split("."):
        value = getattr(value, part)
    return int(value)


def _wrong_lengths(spec: ModelSpec) -> Iterator[str]:
    if required_samples(spec) > spec.max_encoder_length:
        yield f"min_encoder_length is {spec.min_encoder_length}, max_encoder_length only {spec.max_encoder_length}"
    if spec.network.attention_head_size > spec.network.hidden_size:
        yield "network.attention_head_size is larger than network.hidden_size, nothing is left for a head"


def _wrong_outputs(spec: ModelSpec) -> Iterator[str]:
    if not spec.targets or not spec.quantiles:
        yield "targets and quantiles must not be empty"
    if list(spec.quantiles) != sorted(set(spec.quantiles)):
        yield f"quantiles must ascend, found {list(spec.quantiles)}"
    expected = [len(spec.quantiles)] * len(spec.targets)
    if list(spec.network.output_size) != expected:
        yield (
            f"network.output_size is {list(spec.network.output_size)}, but {len(spec.targets)} targets with "
            f"{len(spec.quantiles)} quantiles need {expected}"
        )
    if spec.metrics[: len(spec.targets)] != spec.targets:
        yield f"metrics must begin with the targets, found {list(spec.metrics)} and {list(spec.targets)}"


def _wrong_names(spec: ModelSpec) -> Iterator[str]:
    lists = {
        "metrics": spec.metrics,
        "network.x_reals": spec.network.x_reals,
        "network.x_categoricals": spec.network.x_categoricals,
    }
    for key, names in lists.items():
        if len(set(names)) < len(names):
            yield f"{key} names an input twice: {list(names)}"
    for metric in spec.metrics:
        if derived := split_name(metric, spec.targets):
            yield f"metrics names {metric}, but that is an input derived from {derived[0]}"
    attributes = nn.ModuleDict()
    for name in (*spec.metrics, *spec.network.x_reals):
        if not name or "." in name or hasattr(attributes, name):
            yield f"{name!r} cannot be the name of an input: torch needs it for itself"


def _wrong_categoricals(spec: ModelSpec) -> Iterator[str]:
    network = spec.network
    allowed = {
        "x_categoricals": (*SERVER_LABELS, STATUS),
        "static_categoricals": SERVER_LABELS,
        "time_varying_categoricals_encoder": (*SERVER_LABELS, STATUS),
        "time_varying_categoricals_decoder": SERVER_LABELS,
    }
    for key, labels in allowed.items():
        yield from _not_among(f"network.{key}", getattr(network, key), labels)
        yield from _not_among(f"network.{key}", getattr(network, key), network.x_categoricals)
    if set(network.embedding_sizes) != set(network.x_categoricals):
        yield (
            f"network.embedding_sizes has {sorted(network.embedding_sizes)}, "
            f"network.x_categoricals {sorted(network.x_categoricals)}"
        )
        return
    for name in network.x_categoricals:
        yield from _wrong_encoder(name, spec.categorical_encoders.get(name), network.embedding_sizes[name][0])


def _wrong_encoder(name: str, encoder: CategoricalEncoder | None, embedded: int) -> Iterator[str]:
    if encoder is None:
        yield f"categorical_encoders has none for {name}"
    elif len(encoder.classes) != embedded:
        yield f"categorical_encoders.{name} has {len(encoder.classes)} classes, its embedding {embedded}"
    elif encoder.unknown_code is not None and not 0 <= encoder.unknown_code < embedded:
        yield f"categorical_encoders.{name}.unknown_code is {encoder.unknown_code}, codes end at {embedded - 1}"


def _wrong_reals(spec: ModelSpec) -> Iterator[str]:
    network = spec.network
    ahead = (*CALENDAR, RELATIVE_TIME, *lag_inputs(spec.targets))
    static = (ENCODER_LENGTH, *scale_inputs(spec.targets), *summary_inputs(spec.targets))
    allowed = {
        "x_reals": (*spec.metrics, *ahead, *static),
        "static_reals": static,
        "time_varying_reals_encoder": (*spec.metrics, *ahead),
        "time_varying_reals_decoder": ahead,
    }
    for key, names in allowed.items():
        yield from _not_among(f"network.{key}", getattr(network, key), names)
        yield from _not_among(f"network.{key}", getattr(network, key), network.x_reals)
    for name, scaler in spec.real_scalers.items():
        if name in spec.targets:
            yield f"real_scalers.{name}: a target is scaled by its normalizer alone"
        if not _can_scale(scaler.center, scaler.scale):
            yield f"real_scalers.{name} cannot scale: center {scaler.center}, scale {scaler.scale}"
    for name, value in spec.fill_values.items():
        if not isfinite(value):
            yield f"fill_values.{name} is {value}"


def _wrong_calendar(calendar: FleetCalendar) -> Iterator[str]:
    try:
        find_zone(calendar.zone)
    except UnknownZone as error:
        yield f"calendar.zone is {error}"


def _not_among(key: str, names: Sequence[str], allowed: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in allowed:
            yield f"{key} names {name}; possible there: {', '.join(allowed) or 'nothing'}"


def _wrong_normalizer(target: str, spec: ModelSpec) -> Iterator[str]:
    normalizer = spec.target_normalizers.get(target)
    if normalizer is None:
        yield f"target_normalizers has none for {target}"
    elif normalizer.kind == "encoder":
        yield from _too_short(target, normalizer, required_samples(spec))
    elif normalizer.missing is None:
        yield f"target_normalizers.{target} needs `missing`, the scale of a server that is not in its table"
    else:
        yield from _unusable_scales(target, normalizer)


def _too_short(target: str, normalizer: TargetNormalizer, samples: int) -> Iterator[str]:
    measured = min(normalizer.scale_length or samples, samples)
    if normalizer.method != "identity" and measured < 2:
        yield f"target_normalizers.{target} measures a scale on {measured} value; at least 2 are needed"


def _unusable_scales(target: str, normalizer: TargetNormalizer) -> Iterator[str]:
    scales: dict[str, CenterScale | None] = {"missing": normalizer.missing}
    scales |= {f"groups.{server}": scale for server, scale in normalizer.groups.items()}
    scales |= {f"output_groups.{server}": scale for server, scale in (normalizer.output_groups or {}).items()}
    for key, scale in scales.items():
        if scale is not None and not _can_scale(scale.center, scale.scale):
            yield f"target_normalizers.{target}.{key} cannot scale: center {scale.center}, scale {scale.scale}"


def _can_scale(center: float, scale: float) -> bool:
    """True if both are finite in float32 and the scale can be divided by."""
    with np.errstate(over="ignore"):
        narrow = np.array([center, scale], dtype=np.float32)
    return bool(np.isfinite(narrow).all() and narrow[1] != 0)
