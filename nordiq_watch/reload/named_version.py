"""A model directory that a command names, loaded as a reload would load it but beside every daemon."""

from __future__ import annotations

from pathlib import Path

from nordiq_watch.api.enums import Check
from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.reader import CheckTrust
from nordiq_watch.errors import ConfigError, ModelRejected
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.models import Version
from nordiq_watch.reload.loader import Loader, Requirements, check_numbers, memory_errors


def version_at(path: Path) -> Version:
    """The version in this directory, whatever its name. Raises ConfigError if it is no directory."""
    if not path.is_dir():
        raise ConfigError(f"{path} is not a directory. Name a model directory, such as models/tft_model_…")
    place = path.resolve()
    return Version(place.name, place, timestamp=None, fingerprint="", size_bytes=0, modified=0.0)


def load_version(
    version: Version,
    *,
    requirements: Requirements | None = None,
    check_trust: CheckTrust | None = None,
    every_number: bool = False,
) -> Servable:
    """Reads, checks and builds it, in host memory. Raises ModelRejected with the check that failed.

    requirements: those of the daemon that would serve it; without them, only its own bytes decide. every_number: all
    numbers of its tensors must be finite, those too that few forecasts read, such as the embedding of one server.
    """
    verdict = judge(version.path)
    if not verdict.complete:
        found = f"it is not complete: {verdict.reason}"
        raise ModelRejected(version.name, check=Check.LAYOUT, found=found, remedy="Write the directory again.")
    loader = Loader(requirements, check_trust=check_trust)
    with memory_errors(version.name):
        files = loader.read(version)
        if every_number:
            check_numbers(version.name, files)
        return loader.build(version, files, generation=0)
