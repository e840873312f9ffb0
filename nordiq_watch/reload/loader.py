"""From a version on disk to a servable in memory. Touches nothing that is live; a refusal says which check it was."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.artifact.manifest import BrokenManifest
from nordiq_watch.artifact.reader import CheckTrust, HashMismatch, ModelFiles, UntrustedModel, read_model
from nordiq_watch.artifact.weights_file import BrokenWeights
from nordiq_watch.errors import ModelRejected, TransientModelError
from nordiq_watch.live.servable import Servable
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.quantiles import LEVELS
from nordiq_watch.records import ModelIdentity, Version
from nordiq_watch.spec import ModelSpec

SIGN_HINT = "Sign it with `nordiq-watch sign DIR --key FILE`, with a key of models.trusted_keys."
VERIFY_HINT = "Run `nordiq-watch verify DIR` and write the directory again."

_ABOUT_THE_MODEL = {errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.EFBIG, errno.ENOTDIR, errno.EISDIR}
"""What the file system says about the directory itself. Any other error is the machine's, and may pass."""


class NotWholeYet(ModelRejected):
    """The bytes are not those that the directory lists. Final only once they have stopped changing."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the daemon expects of every model."""

    metrics: tuple[str, ...]
    interval_seconds: int
    window_length: int


class Loader:
    """Reads and builds. Used from the reload worker's thread, and, without requirements, by `nordiq-watch verify`."""

    def __init__(self, requirements: Requirements | None, *, check_trust: CheckTrust | None = None) -> None:
        self._requirements = requirements
        self._check_trust = check_trust

    def read(self, version: Version) -> ModelFiles:
        """The directory's bytes, read once, hashed and parsed. Raises ModelRejected, MemoryError."""
        with _refusals(version.name):
            return read_model(version.path, self._check_trust)

    def build(self, version: Version, files: ModelFiles, *, generation: int) -> Servable:
        """The network with these weights, in host memory. MemoryError; ModelRejected if it cannot be fed or used."""
        check_served_quantiles(version.name, files.spec)
        if self._requirements is not None:
            check_requirements(version.name, files.spec, self._requirements)
        with _refusals(version.name):
            predictor = Predictor(files.spec, files.weights.tensors, device="cpu")
        return Servable(
            version=version,
            identity=ModelIdentity(version.name, generation, files.weights.sha256),
            content_sha256=files.content_sha256,
            spec=files.spec,
            known_servers=frozenset(files.mapping.name_to_id),
            predictor=predictor,
        )


def check_requirements(name: str, spec: ModelSpec, requirements: Requirements) -> None:
    """Whether this daemon can feed and serve such a model. Raises ModelRejected with both numbers."""
    if spec.interval_seconds != requirements.interval_seconds:
        raise ModelRejected(
            name,
            check="window",
            found=f"its interval_seconds is {spec.interval_seconds}, the window's is {requirements.interval_seconds}",
            remedy="Train it on the window's interval, or change window.interval_seconds.",
        )
    if spec.max_encoder_length > requirements.window_length:
        raise ModelRejected(
            name,
            check="window",
            found=f"its encoder reads {spec.max_encoder_length} slots, the window keeps {requirements.window_length}",
            remedy="Raise window.length, or train with a shorter training.max_encoder_length.",
        )
    unknown = [metric for metric in spec.metrics if metric not in requirements.metrics]
    if unknown:
        raise ModelRejected(
            name,
            check="metrics",
            found=f"it needs {', '.join(unknown)}, which the daemon does not have",
            remedy="Add it to `metrics` in config.yaml, or train without it.",
        )


def check_served_quantiles(name: str, spec: ModelSpec) -> None:
    """Every answer has p10, p50 and p90. Raises ModelRejected naming those that the model does not give."""
    missing = [quantile for quantile in LEVELS if quantile not in spec.quantiles]
    if missing:
        raise ModelRejected(
            name,
            check="manifest",
            found=f"it has no quantile {', '.join(map(str, missing))}",
            remedy="Train with quantiles that include 0.1, 0.5 and 0.9.",
        )


@contextmanager
def memory_errors(name: str) -> Iterator[None]:
    """Around all that is done to prove a version: whatever ran out of memory, on whatever device, may be free again."""
    try:
        yield
    except MemoryError as error:
        raise TransientModelError(
            name,
            check="memory",
            found=f"there is not enough memory to load it{f' ({error})' if str(error) else ''}",
            remedy="Free memory; it is tried again.",
        ) from None


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turns what reading and building raise into the one error that the rest of the reload knows."""
    try:
        yield
    except HashMismatch as error:
        raise NotWholeYet(name, check="sha256", found=str(error), remedy=VERIFY_HINT) from None
    except UntrustedModel as error:
        raise ModelRejected(name, check="signature", found=str(error), remedy=SIGN_HINT) from None
    except BrokenManifest as error:
        raise ModelRejected(name, check="manifest", found=str(error), remedy=VERIFY_HINT) from None
    except BrokenWeights as error:
        raise ModelRejected(name, check="weights", found=f"model.safetensors {error}", remedy=VERIFY_HINT) from None
    except ValueError as error:
        raise ModelRejected(name, check="network", found=str(error), remedy=VERIFY_HINT) from None
    except OSError as error:
        found = f"{Path(error.filename).name if error.filename else 'a file'} cannot be read ({error.strerror})"
        if error.errno in _ABOUT_THE_MODEL:
            raise ModelRejected(name, check="layout", found=found, remedy=VERIFY_HINT) from None
        raise TransientModelError(name, check="read", found=found, remedy="It is tried again.") from None
