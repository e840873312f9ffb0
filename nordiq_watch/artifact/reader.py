"""Reads a whole model directory, each byte once: what was hashed is what is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.artifact.files import read_bounded
from nordiq_watch.artifact.layout import CONFIG_FILE, EXTRAS_FILE, INFO_FILE, MAPPING_FILE, WEIGHTS_FILE, tensor_files
from nordiq_watch.artifact.manifest import decode_info, decode_mapping, decode_spec, read_info_content
from nordiq_watch.artifact.weights_file import WeightsFile, read_weights
from nordiq_watch.records.models import RawTensor
from nordiq_watch.spec import ModelSpec, ServerMapping, TrainingInfo


class HashMismatch(ValueError):
    """A file's bytes are not those that training_info.json lists: still being written, or damaged."""


class UntrustedModel(ValueError):
    """No trusted key signed the bytes that were read."""


CheckTrust = Callable[[Path, Mapping[str, str]], None]
"""Called with the directory and the SHA-256 of each file read; raises UntrustedModel."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model directory in memory. `content_sha256` is one hash over its required files."""

    spec: ModelSpec
    mapping: ServerMapping
    info: TrainingInfo | None
    weights: WeightsFile
    extras: WeightsFile | None
    content_sha256: str

    @property
    def extra_tensors(self) -> Mapping[str, RawTensor]:
        """Those of the extras; none where the model has none."""
        return self.extras.tensors if self.extras else {}


def read_model(directory: Path, check_trust: CheckTrust | None = None) -> ModelFiles:
    """Reads the directory and compares it with its own hashes and, if `check_trust` is given, with its signature.

    Raises HashMismatch, UntrustedModel, BrokenManifest, BrokenWeights, OSError.
    """
    info_content = read_info_content(directory)
    info = None if info_content is None else decode_info(info_content)
    config = read_bounded(directory / CONFIG_FILE)
    mapping = read_bounded(directory / MAPPING_FILE)
    spec = decode_spec(config)
    servers = decode_mapping(mapping)
    tensors = {name: read_weights(directory / name) for name in tensor_files(spec)}
    hashes = {name: file.sha256 for name, file in tensors.items()}
    hashes |= {CONFIG_FILE: _sha256(config), MAPPING_FILE: _sha256(mapping)}
    _compare(hashes, info.sha256 if info else {})
    if check_trust is not None:
        check_trust(directory, hashes if info_content is None else {**hashes, INFO_FILE: _sha256(info_content)})
    content = _sha256("".join(hashes[name] for name in sorted(hashes)).encode())
    return ModelFiles(
        spec=spec,
        mapping=servers,
        info=info,
        weights=tensors[WEIGHTS_FILE],
        extras=tensors.get(EXTRAS_FILE),
        content_sha256=content,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _compare(found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for name, digest in found.items():
        if name in expected and expected[name].lower() != digest:
            raise HashMismatch(f"{name} has SHA-256 {digest[:12]}…, training_info.json says {expected[name][:12]}…")
