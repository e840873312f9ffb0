"""Drops a model directory: written to a hidden sibling, flushed to the disk, then renamed into place in one step."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from nordiq_watch.artifact.layout import CONFIG_FILE, INFO_FILE, MAPPING_FILE, WEIGHTS_FILE, is_candidate
from nordiq_watch.artifact.manifest import encode
from nordiq_watch.atomic_file import create_file, make_directories, sync_directory
from nordiq_watch.spec import ModelSpec, ServerMapping, TrainingInfo


def write_model_directory(
    models_dir: Path, *, name: str, weights: bytes, spec: ModelSpec, mapping: ServerMapping, info: TrainingInfo
) -> Path:
    """Writes `models_dir/name` whole or not at all, and returns it. The info gets the SHA-256 of each other file.

    `weights` are the bytes of a safetensors file. Raises FileExistsError if the name is taken, OSError for the disk.
    """
    if not is_candidate(name):
        raise ValueError(f"{name!r} is not the name of a version")
    target = models_dir / name
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    make_directories(models_dir)
    files = {WEIGHTS_FILE: weights, CONFIG_FILE: encode(spec), MAPPING_FILE: encode(mapping)}
    hashes = {file_name: hashlib.sha256(content).hexdigest() for file_name, content in files.items()}
    files[INFO_FILE] = encode(msgspec.structs.replace(info, sha256=hashes))
    staging = Path(mkdtemp(prefix=f".{name}.", dir=models_dir))
    try:
        for file_name, content in files.items():
            create_file(staging / file_name, content, is_draft=True)
        staging.chmod(0o755)  # mkdtemp gives 0700; the daemon may run as another user
        sync_directory(staging)
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_directory(models_dir)
    return target
