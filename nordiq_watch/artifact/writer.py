"""Drops a model directory: written to a hidden sibling, flushed to the disk, then renamed into place in one step."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from nordiq_watch.artifact.layout import (
    CONFIG_FILE,
    EXTRAS_FILE,
    INFO_FILE,
    MAPPING_FILE,
    WEIGHTS_FILE,
    is_candidate,
    refused_name,
)
from nordiq_watch.artifact.manifest import check_format, encode
from nordiq_watch.atomic_file import create_file, make_directories, sync_directory
from nordiq_watch.spec import ModelSpec, ServerMapping, TrainingInfo


def write_model_directory(
    models_dir: Path,
    *,
    name: str,
    weights: bytes,
    spec: ModelSpec,
    mapping: ServerMapping,
    info: TrainingInfo,
    extras: bytes | None = None,
    accept: Callable[[Path], bool] = lambda _: True,
) -> Path:
    """Writes `models_dir/name` whole or not at all, and returns it. The info gets the SHA-256 of each other file.

    weights, extras: the bytes of safetensors files; extras exactly if the spec names them, else ValueError. accept:
    called with the finished directory, which still has a hidden name; what it does not accept becomes `.refused_name`,
    which no watcher takes, and nothing is left of what it raises an exception for. Raises FileExistsError if one of
    both names is taken, and OSError.
    """
    if not is_candidate(name):
        raise ValueError(f"{name!r} is not the name of a version")
    place, refused = models_dir / name, models_dir / refused_name(name)
    for taken in (place, refused):
        if taken.exists():
            raise FileExistsError(f"{taken} exists already")
    files = _encode_files(weights, extras, spec, mapping, info)
    make_directories(models_dir)
    staging = Path(mkdtemp(prefix=f".{name}.", dir=models_dir))
    try:
        for file_name, content in files.items():
            create_file(staging / file_name, content, is_draft=True)
        staging.chmod(0o755)  # mkdtemp gives 0700; the daemon may run as another user
        sync_directory(staging)
        target = place if accept(staging) else refused
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_directory(models_dir)
    return target


def _encode_files(
    weights: bytes, extras: bytes | None, spec: ModelSpec, mapping: ServerMapping, info: TrainingInfo
) -> dict[str, bytes]:
    """File name → content."""
    check_format(spec)
    if (extras is None) != (spec.extras is None):
        raise ValueError(f"{EXTRAS_FILE} belongs to a model whose config.json names extras, and to no other")
    files = {WEIGHTS_FILE: weights, CONFIG_FILE: encode(spec), MAPPING_FILE: encode(mapping)}
    if extras is not None:
        files[EXTRAS_FILE] = extras
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return files | {INFO_FILE: encode(msgspec.structs.replace(info, sha256=hashes))}
