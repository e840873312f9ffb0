"""The checkpoint of a training: all that `train --resume` needs to continue it, in one file beside the versions.

The file is a safetensors file whose metadata holds the rest as JSON, so that one atomic replacement changes all of it,
and nothing in it can be executed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from nordiq_watch.atomic_file import make_directories, replace_file
from nordiq_watch.errors import CheckpointError
from nordiq_watch.training.budget import Limits
from nordiq_watch.training.state import State

DIRECTORY = ".training_checkpoint"
FILE = "checkpoint.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """origin: what the training belongs to, by name; another training may only continue it if all of that is equal.
    spent: seconds until now. states: by part of the training.
    """

    origin: Mapping[str, Any]
    limits: Limits
    spent: float
    states: Mapping[str, State]


class CheckpointFile:
    """The checkpoint in a models directory; only one process at a time writes it.

    is_own: whether it is on disk and belongs to this process's training.
    """

    def __init__(self, models_dir: Path) -> None:
        self.directory = models_dir / DIRECTORY
        self.is_own = False
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        return (self.directory / FILE).is_file()

    def read(self) -> Checkpoint:
        """Raises CheckpointError if there is none, or none that can be read."""
        path = self.directory / FILE
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})["checkpoint"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.directory}: there is no interrupted training to resume. Train without --resume."
            ) from None
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error}). Train without --resume.") from error
        if header.get("format_version") != FORMAT_VERSION:
            raise CheckpointError(f"{path}: of another version of the program. Train without --resume.")
        return Checkpoint(
            origin=header["origin"],
            limits=Limits(header["limits"]["epochs"], header["limits"]["seconds"]),
            spent=header["spent"],
            states={part: _state_of(part, tensors, values) for part, values in header["states"].items()},
        )

    def write(self, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint atomically. Raises OSError, BlockingIOError if another training writes it."""
        self.lock()
        header = {
            "format_version": FORMAT_VERSION,
            "origin": dict(checkpoint.origin),
            "limits": {"epochs": checkpoint.limits.epochs, "seconds": checkpoint.limits.seconds},
            "spent": checkpoint.spent,
            "states": {part: dict(state.values) for part, state in checkpoint.states.items()},
        }
        tensors = {
            f"{part}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)  # some share memory
            for part, state in checkpoint.states.items()
            for name, tensor in state.tensors.items()
        }
        content = safetensors.torch.save(tensors, {"checkpoint": json.dumps(header)})
        replace_file(self.directory / FILE, content)
        self.is_own = True

    def lock(self) -> None:
        """Makes sure that no other training writes it until `release` or `delete`, or the end of the process.

        Raises BlockingIOError if one does already, OSError if the directory cannot be made.
        """
        if self._lock is not None:
            return
        make_directories(self.directory)
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def delete(self) -> None:
        """Deletes the checkpoint, whole or in part, if this process is the one to write it."""
        if self._lock is None:
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        self.is_own = False
        self.release()

    def release(self) -> None:
        """Lets another training write it, or resume from it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def check_origin(checkpoint: Checkpoint, origin: Mapping[str, Any]) -> None:
    """Raises CheckpointError, naming each difference, unless the checkpoint's origin equals `origin`."""
    there = checkpoint.origin
    found = [
        f"{name.replace('_', ' ')}: {_plain(there.get(name))} there and {_plain(origin.get(name))} here"
        for name in dict.fromkeys((*origin, *there))
        if there.get(name) != origin.get(name)
    ]
    if found:
        raise CheckpointError(
            f"the interrupted training cannot be resumed with these settings and data: {'; '.join(found)}. Train "
            "without --resume, or with what it was begun with."
        )


def _state_of(part: str, tensors: Mapping[str, Any], values: Mapping[str, Any]) -> State:
    prefix = f"{part}/"
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return State(own, values)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
