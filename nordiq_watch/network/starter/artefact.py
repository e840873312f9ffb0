"""The starter as it lies in the package: its weights in half precision, and what they are, with their SHA-256."""

from __future__ import annotations

import hashlib
import logging
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nordiq_watch.network.starter.reading import count_inputs
from nordiq_watch.network.starter.starter_map import StarterMap

log = logging.getLogger(__name__)

CONFIG_FILE, WEIGHTS_FILE = "config.json", "starter.safetensors"
FORMAT_VERSION = 1


class DamagedStarter(ValueError):
    """Its files are not those that were written together, or not for this version of the program."""


class StarterConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """`config.json`. made_by: the command that makes the same again. sha256: of the weights' file."""

    format_version: int
    made_by: str
    lengths: tuple[int, ...]
    knots: tuple[int, ...]
    levels: tuple[float, ...]
    sha256: str


_CONFIG = msgspec.json.Decoder(StarterConfig)


def shipped_starter() -> Traversable:
    """The directory in the package."""
    return resources.files("nordiq_watch").joinpath("data", "starter")


def load_starter(directory: Traversable | None = None) -> StarterMap | None:
    """The starter of the package, or of this directory; None, with a line in the log, if it cannot be used."""
    found = directory or shipped_starter()
    try:
        return read_starter(found)
    except (OSError, DamagedStarter) as error:
        log.warning("the starter model cannot be used (%s): the built-in forecast goes on without it", error)
        return None


def read_starter(directory: Traversable) -> StarterMap:
    """Raises OSError and DamagedStarter."""
    try:
        config = _CONFIG.decode(directory.joinpath(CONFIG_FILE).read_bytes())
    except msgspec.DecodeError as error:
        raise DamagedStarter(f"{CONFIG_FILE}: {error}") from None
    if config.format_version != FORMAT_VERSION:
        raise DamagedStarter(f"{CONFIG_FILE} has format_version {config.format_version}, this is {FORMAT_VERSION}")
    content = directory.joinpath(WEIGHTS_FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != config.sha256:
        raise DamagedStarter(f"{WEIGHTS_FILE} has not the SHA-256 that {CONFIG_FILE} names; install the program again")
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise DamagedStarter(f"{WEIGHTS_FILE}: {error}") from None
    expected = {str(length): (count_inputs(length), len(config.knots), len(config.levels)) for length in config.lengths}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise DamagedStarter(f"the tensors of {WEIGHTS_FILE} are not those of {CONFIG_FILE}")
    weights = {length: tensors[str(length)].astype(np.float32) for length in config.lengths}
    return StarterMap(config.lengths, config.knots, config.levels, weights)


def write_starter(starter: StarterMap, directory: Path, *, made_by: str) -> StarterConfig:
    """Into this directory, which is made if need be."""
    tensors = {str(length): starter.weights[length].astype(np.float16) for length in starter.lengths}
    content = save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    config = StarterConfig(FORMAT_VERSION, made_by, starter.lengths, starter.knots, starter.levels, digest)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / WEIGHTS_FILE).write_bytes(content)
    (directory / CONFIG_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2) + b"\n")
    return config
