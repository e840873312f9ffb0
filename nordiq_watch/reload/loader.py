"""Loads a version from disk into a servable in memory. Touches nothing live; a refusal names the failed check."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.api.enums import Check
from nordiq_watch.artifact.layout import EXTRAS_FILE, WEIGHTS_FILE
from nordiq_watch.artifact.manifest import BrokenManifest
from nordiq_watch.artifact.reader import CheckTrust, HashMismatch, ModelFiles, UntrustedModel, read_model
from nordiq_watch.artifact.weights_file import BrokenWeights
from nordiq_watch.errors import ModelRejected, TransientModelError
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.derived_inputs import reads_back
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.weights import find_not_finite
from nordiq_watch.quantiles import SERVED_QUANTILES
from nordiq_watch.records.models import ModelIdentity, Version
from nordiq_watch.spec import ModelSpec

SIGN_HINT = "Sign it with `nordiq-watch sign DIR --key FILE`, with a key of models.trusted_keys."
VERIFY_HINT = "Run `nordiq-watch verify DIR` and write the directory again."

_ABOUT_THE_MODEL = {errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.EFBIG, errno.ENOTDIR, errno.EISDIR}
"""Errors of the file system that concern the directory itself. All others concern the machine and may pass."""


class NotWholeYet(ModelRejected):
    """The bytes do not match the directory's hashes. Final only once they have stopped changing."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """The daemon's requirements for every model."""

    metrics: tuple[str, ...]
    interval_seconds: int
    window_length: int


class Loader:
    """Reads and builds. Used by the reload worker and, without requirements, by `nordiq-watch verify`."""

    def __init__(self, requirements: Requirements | None, *, check_trust: CheckTrust | None = None) -> None:
        self._requirements = requirements
        self._check_trust = check_trust

    def read(self, version: Version) -> ModelFiles:
        """Reads the directory's bytes once, hashed and parsed. Raises ModelRejected, MemoryError."""
        with _refusals(version.name):
            return read_model(version.path, self._check_trust)

    def build(self, version: Version, files: ModelFiles, *, generation: int) -> Servable:
        """The network with these weights, in host memory. Raises MemoryError, and ModelRejected if it is unusable."""
        check_served_quantiles(version.name, files.spec)
        if self._requirements is not None:
            check_requirements(version.name, files.spec, self._requirements)
        with _refusals(version.name):
            predictor = Predictor(files.spec, files.weights.tensors, device="cpu", extras=files.extra_tensors)
        return Servable(
            version=version,
            identity=ModelIdentity(
                version.name, generation, files.weights.sha256, files.extras.sha256 if files.extras else None
            ),
            content_sha256=files.content_sha256,
            spec=files.spec,
            known_servers=frozenset(files.mapping.name_to_id),
            predictor=predictor,
            training=files.info,
        )


def check_requirements(name: str, spec: ModelSpec, requirements: Requirements) -> None:
    """Raises ModelRejected, with both numbers, if this daemon cannot feed or serve such a model."""
    if spec.interval_seconds != requirements.interval_seconds:
        raise ModelRejected(
            name,
            check=Check.WINDOW,
            found=f"its interval_seconds is {spec.interval_seconds}, the window's is {requirements.interval_seconds}",
            remedy="Train it on the window's interval, or change window.interval_seconds.",
        )
    if (slots := reads_back(spec)) > requirements.window_length:
        reader = "its encoder reads" if slots == spec.max_encoder_length else "it reads back"
        raise ModelRejected(
            name,
            check=Check.WINDOW,
            found=f"{reader} {slots} slots, the window keeps {requirements.window_length}",
            remedy="Raise window.length, or train with this one, and with a training.max_encoder_length that fits in.",
        )
    unknown = [metric for metric in spec.metrics if metric not in requirements.metrics]
    if unknown:
        raise ModelRejected(
            name,
            check=Check.METRICS,
            found=f"it needs {', '.join(unknown)}, which the daemon does not have",
            remedy="Add it to `metrics` in config.yaml, or train without it.",
        )


def check_served_quantiles(name: str, spec: ModelSpec) -> None:
    """Every answer has p10, p50 and p90. Raises ModelRejected with those that the model lacks."""
    missing = [quantile for quantile in SERVED_QUANTILES if quantile not in spec.quantiles]
    if missing:
        raise ModelRejected(
            name,
            check=Check.MANIFEST,
            found=f"it has no quantile {', '.join(map(str, missing))}",
            remedy="Train with quantiles that include 0.1, 0.5 and 0.9.",
        )


def check_numbers(name: str, files: ModelFiles) -> None:
    """Raises ModelRejected with the first tensor that holds a number which is not finite as the daemon computes."""
    for file, tensors in ((WEIGHTS_FILE, files.weights.tensors), (EXTRAS_FILE, files.extra_tensors)):
        with _refusals(name):
            broken = find_not_finite(tensors)
        if broken is not None:
            found = f"{broken} in {file} is not finite in float32"
            raise ModelRejected(name, check=Check.WEIGHTS, found=found, remedy="Look at its training and its weights.")


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Turns any lack of memory while a version is proven into TransientModelError: memory may become free again."""
    try:
        yield
    except MemoryError as error:
        raise TransientModelError(
            name,
            check=Check.MEMORY,
            found=f"there is not enough memory to load it{f' ({error})' if str(error) else ''}",
            remedy="Free memory; it is tried again.",
        ) from None


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turns errors from reading and building into the one error that the rest of the reload handles."""
    try:
        yield
    except HashMismatch as error:
        raise NotWholeYet(name, check=Check.SHA256, found=str(error), remedy=VERIFY_HINT) from None
    except UntrustedModel as error:
        raise ModelRejected(name, check=Check.SIGNATURE, found=str(error), remedy=SIGN_HINT) from None
    except BrokenManifest as error:
        raise ModelRejected(name, check=Check.MANIFEST, found=str(error), remedy=VERIFY_HINT) from None
    except BrokenWeights as error:
        raise ModelRejected(name, check=Check.WEIGHTS, found=str(error), remedy=VERIFY_HINT) from None
    except ValueError as error:
        raise ModelRejected(name, check=Check.NETWORK, found=str(error), remedy=VERIFY_HINT) from None
    except OSError as error:
        found = f"{Path(error.filename).name if error.filename else 'a file'} cannot be read ({error.strerror})"
        if error.errno in _ABOUT_THE_MODEL:
            raise ModelRejected(name, check=Check.LAYOUT, found=found, remedy=VERIFY_HINT) from None
        raise TransientModelError(name, check=Check.READ, found=found, remedy="It is tried again.") from None
