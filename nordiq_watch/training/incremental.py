"""Continues training from an existing model: which one, whether it fits, and how its weights are extended to new
labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec import Struct
from torch import Tensor

from nordiq_watch.artifact.reader import read_model
from nordiq_watch.errors import DatasetError
from nordiq_watch.network.checks import check_spec
from nordiq_watch.network.weights import build_network
from nordiq_watch.spec import ModelSpec, ServerMapping
from nordiq_watch.training.forecaster import Forecaster
from nordiq_watch.training.newest import read_newest

_UNKNOWN_CODE = 0
_MUST_AGREE = (
    "interval_seconds",
    "max_encoder_length",
    "min_encoder_length",
    "max_prediction_length",
    "quantiles",
    "metrics",
    "targets",
    "target_normalizers",
    "real_scalers",
)
_MAY_GROW = {"embedding_sizes"}


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A model to continue from. weights: by the names of pytorch-forecasting's `state_dict`."""

    name: str
    spec: ModelSpec
    mapping: ServerMapping
    weights: dict[str, Tensor]

    @property
    def embedding_lengths(self) -> dict[str, int]:
        """Label input → embedding size."""
        return {name: length for name, (_, length) in self.spec.network.embedding_sizes.items()}


def find_newest(models_dir: Path, report: Callable[[str], None]) -> Predecessor | None:
    """The newest model of `models_dir` that is complete and can be built; None if there is none.

    Newer ones that cannot be used are passed to `report`, each with its reason. Raises OSError for failures of the file
    system.
    """
    return read_newest(models_dir, _read, report=report)


def _read(directory: Path) -> Predecessor:
    files = read_model(directory)
    check_spec(files.spec)
    weights = build_network(files.spec.network, files.weights.tensors).state_dict()
    return Predecessor(directory.name, files.spec, files.mapping, weights)


def find_predecessor(models_dir: Path, report: Callable[[str], None]) -> Predecessor | None:
    """As `find_newest`, and reports which it is."""
    predecessor = find_newest(models_dir, report)
    if predecessor is None:
        report(f"no model in {models_dir} to go on from: starting afresh")
    else:
        report(f"going on from {predecessor.name}")
    return predecessor


def check_fit(predecessor: Predecessor, spec: ModelSpec) -> None:
    """Raises DatasetError, naming each difference, unless the new network's `spec` equals the old one but for new
    labels.
    """
    found = list(_differences(predecessor.spec, spec)) or list(_network_differences(predecessor.spec, spec))
    if found:
        raise DatasetError(
            f"{predecessor.name} cannot be trained on: {'; '.join(found)}. Train without --incremental, or with the "
            "config, dataset and --per-server that it was made with."
        )


def _differences(old: ModelSpec, new: ModelSpec) -> Iterator[str]:
    yield from _between(old, new, _MUST_AGREE)
    if old.calendar.zone != new.calendar.zone:
        yield f"calendar.zone is {old.calendar.zone} there and {new.calendar.zone} here"
    for name in sorted(new.categorical_encoders.keys() & old.categorical_encoders.keys()):
        codes = old.categorical_encoders[name].unknown_code, new.categorical_encoders[name].unknown_code
        if codes[0] != codes[1]:
            yield f"the class for an unknown {name} is {codes[0]} there and {codes[1]} here"


def _network_differences(old: ModelSpec, new: ModelSpec) -> Iterator[str]:
    yield from _between(
        old.network, new.network, [key for key in new.network.__struct_fields__ if key not in _MAY_GROW]
    )


def _between(old: Struct, new: Struct, keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        there, here = getattr(old, key), getattr(new, key)
        if there != here:
            yield (
                f"{key} differ" if isinstance(here, dict) else f"{key} is {_plain(there)} there and {_plain(here)} here"
            )


def _plain(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def take_weights(forecaster: Forecaster, predecessor: Predecessor) -> None:
    """Loads the old weights. A label unknown to the old model starts with the weights of its unknown class."""
    sizes = {name: embedding.num_embeddings for name, embedding in forecaster.input_embeddings.items()}
    weights = dict(predecessor.weights)
    for name, classes in sizes.items():
        key = f"input_embeddings.embeddings.{name}.weight"
        weights[key] = _with_rows(weights[key], classes)
    forecaster.load_state_dict(weights)


def _with_rows(embedding: Tensor, rows: int) -> Tensor:
    unknown = embedding[_UNKNOWN_CODE : _UNKNOWN_CODE + 1]
    return torch.cat([embedding, unknown.expand(rows - len(embedding), -1)])
