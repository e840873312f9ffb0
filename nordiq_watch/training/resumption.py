"""Whether a training starts afresh or goes on from a checkpoint, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nordiq_watch.errors import CheckpointError
from nordiq_watch.training.budget import Limits, choose_limits
from nordiq_watch.training.checkpoint import Checkpoint, CheckpointFile, check_origin
from nordiq_watch.training.loop import Fit


def open_checkpoint(file: CheckpointFile, *, resume: bool, report: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint to go on from, None to start afresh. Raises CheckpointError if there is none to go on from."""
    if not resume:
        if file.exists:
            report(f"{file.directory} holds an interrupted training: --resume goes on from it, this one replaces it")
        return None
    checkpoint = file.read()
    try:
        file.lock()
    except BlockingIOError:
        raise CheckpointError(f"{file.directory}: the training that writes it is still running") from None
    file.is_own = True
    return checkpoint


def find_limits(
    checkpoint: Checkpoint | None, epochs: int | None, *, max_seconds: float | None, setting: float | None
) -> Limits:
    """What ends the training. A resumed one keeps its limits, unless the order names others: then the epochs are those
    of the whole training, and the seconds those from now on.
    """
    if checkpoint is None:
        return choose_limits(epochs, max_seconds, setting)
    if epochs is None and max_seconds is None:
        return checkpoint.limits
    return Limits(epochs, None if max_seconds is None else checkpoint.spent + max_seconds)


def restore_fit(fit: Fit, checkpoint: Checkpoint, origin: Mapping[str, Any]) -> None:
    """Continues the checkpoint's fit. Raises CheckpointError if it belongs to something else than `origin`."""
    check_origin(checkpoint, origin)
    try:
        fit.restore(checkpoint.states)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:  # of a version with another network
        raise CheckpointError(
            "the interrupted training was begun with another version of the program. Train without --resume."
        ) from error


def begin_of(checkpoint: Checkpoint | None) -> float | None:
    """When the network's phase began, in seconds of the budget; None if it begins now."""
    return None if checkpoint is None else float(checkpoint.states["schedule"].values["begin"])


def explain_failure(models_dir: Path, error: OSError, *, kept: Path | None) -> str:
    """What to do about a model that could not be written; kept: where the checkpoint is, if there is one."""
    advice = (
        f"The best weights are in {kept}: make room, then the same command with --resume goes on."
        if kept
        else "There is no checkpoint either: make room, and train again."
    )
    return f"{models_dir}: no model could be written ({error.strerror}). {advice}"
