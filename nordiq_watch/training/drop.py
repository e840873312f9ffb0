"""Puts a trained version into the models directory: dropped, or refused under a hidden name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from nordiq_watch.artifact.layout import is_refused, name_at
from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.errors import ConfigError, ModelRejected, NotDropped
from nordiq_watch.spec import ModelSpec, ServerMapping, TrainingInfo
from nordiq_watch.training.gate import explain_refusal

Prove = Callable[[Path], None]
"""Reads a finished directory back and tries it; raises ModelRejected if it cannot be served."""

KEPT_REFUSALS = 3
"""Refused versions that stay on disk: enough to look at, few enough for a training every hour."""


@dataclass(frozen=True, slots=True)
class Product:
    """A trained version. known: the numbers of servers that keep theirs.

    weights, extras: the bytes of safetensors files; extras exactly if the spec names them.
    """

    weights: bytes
    spec: ModelSpec
    info: TrainingInfo
    servers: Sequence[str]
    known: Mapping[str, int]
    extras: bytes | None = None


def deliver(models_dir: Path, product: Product, *, at: datetime, prove: Prove, drop_anyway: bool = False) -> Path:
    """Drops the version that passes the gate and then, as it lies on the disk, `prove`; returns its directory.

    drop_anyway: past the gate. Raises NotDropped with the reason and the place where it lies hidden, and OSError.
    """
    comparison, faults = product.info.comparison, list[tuple[str, str]]()
    if comparison is not None and not comparison.passed and not drop_anyway:
        advice = "train longer or on more data, or drop it all the same with --drop-anyway"
        faults.append((explain_refusal(comparison), advice))

    def accept(directory: Path) -> bool:
        try:
            if not faults:
                prove(directory)
        except ModelRejected as error:
            reason = f"the version that was written cannot be served ({error.reason})"
            faults.append((reason, "train again; `nordiq-watch verify` with that directory repeats the check"))
        return not faults

    directory = drop(models_dir, product, at=at, accept=accept)
    for reason, advice in faults:
        raise NotDropped(f"{reason}. It stays in {directory}, not dropped: {advice}.")
    return directory


def drop(models_dir: Path, product: Product, *, at: datetime, accept: Callable[[Path], bool] = lambda _: True) -> Path:
    """Writes the version named after `at`, or after the next second that is free, and returns its directory.

    accept: called with the whole directory, still hidden. What it does not accept keeps a hidden name that no watcher
    takes; of those, the oldest beyond KEPT_REFUSALS are deleted. Raises OSError.
    """
    while True:
        name = name_at(at)
        mapping = map_servers(product.servers, known=product.known, version=name)
        try:
            directory = write_model_directory(
                models_dir,
                name=name,
                weights=product.weights,
                spec=product.spec,
                mapping=mapping,
                info=product.info,
                extras=product.extras,
                accept=accept,
            )
        except FileExistsError:
            at += timedelta(seconds=1)
            continue
        if is_refused(directory.name):
            _delete_old_refusals(models_dir)
        return directory


def _delete_old_refusals(models_dir: Path) -> None:
    refused = [path for path in models_dir.iterdir() if is_refused(path.name)]
    for path in sorted(refused, key=lambda path: path.name)[:-KEPT_REFUSALS]:
        shutil.rmtree(path, ignore_errors=True)


def map_servers(servers: Sequence[str], *, known: Mapping[str, int], version: str) -> ServerMapping:
    """Numbers for all servers the weights have seen: known ones keep theirs, new ones follow by name."""
    ids = dict(known)
    for server in sorted(set(servers) - ids.keys()):
        ids[server] = max(ids.values(), default=-1) + 1
    return ServerMapping(
        name_to_id=ids, id_to_name={str(i): name for name, i in ids.items()}, version=version, total_servers=len(ids)
    )


def check_place(models_dir: Path) -> None:
    """Raises ConfigError before, rather than after, hours of training."""
    place = next(path for path in (models_dir, *models_dir.parents) if path.exists())
    if not place.is_dir():
        raise ConfigError(f"{place} is a file, models need a directory. Name another with --models-dir or models.dir.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(f"{place}: no permission to write models there. Change that, or name another --models-dir.")
