"""Names: which directories under models/ are versions, which files they hold, and which version is the latest."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from nordiq_watch.spec import ModelSpec

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
MAPPING_FILE = "server_mapping.json"
INFO_FILE = "training_info.json"
EXTRAS_FILE = "extras.safetensors"
SIGNATURE_FILE = "signature.json"
REQUIRED_FILES = (WEIGHTS_FILE, CONFIG_FILE, MAPPING_FILE)
"""Of every model."""

_PREFIX = "tft_model_"
_REFUSED_PREFIX = ".refused_"
_CANDIDATE = re.compile(r"tft_model_[A-Za-z0-9_.-]+")
_TIMESTAMP = re.compile(r"tft_model_(\d{8}_\d{6})")
_UNFINISHED = (".tmp", ".partial")


def required_files(spec: ModelSpec | None) -> tuple[str, ...]:
    """The files that a directory with this config.json must have; without one, those of every model."""
    with_extras = spec is not None and spec.extras is not None
    return (*REQUIRED_FILES, EXTRAS_FILE) if with_extras else REQUIRED_FILES


def tensor_files(spec: ModelSpec | None) -> tuple[str, ...]:
    """Those of them that are safetensors files."""
    return tuple(name for name in required_files(spec) if name in (WEIGHTS_FILE, EXTRAS_FILE))


def is_candidate(name: str) -> bool:
    """Whether a directory of this name is a version. Hidden and unfinished names never are."""
    return _CANDIDATE.fullmatch(name) is not None and not name.endswith(_UNFINISHED)


def is_left_alone(name: str) -> bool:
    """Whether an entry of this name is there on purpose: hidden, unfinished, or the file system's own."""
    return name.startswith(".") or name.endswith(_UNFINISHED) or name == "lost+found"


def looks_like_version(name: str) -> bool:
    """Whether a name resembles a version's: it may be a mistake."""
    return name.lower().startswith(_PREFIX.rstrip("_"))


def refused_name(name: str) -> str:
    """What a version is called that training did not drop. Hidden, so that it is no version."""
    return _REFUSED_PREFIX + name


def is_refused(name: str) -> bool:
    """Whether a directory of this name holds a version that training did not drop."""
    return name.startswith(_REFUSED_PREFIX) and is_candidate(name.removeprefix(_REFUSED_PREFIX))


def timestamp_of(name: str) -> str | None:
    """The YYYYMMDD_HHMMSS in a version's name; None for a name without one, or one that no calendar knows."""
    match = _TIMESTAMP.fullmatch(name)
    if match is None:
        return None
    try:
        datetime.strptime(match[1], "%Y%m%d_%H%M%S")
    except ValueError:
        return None
    return match[1]


def age_key(name: str) -> tuple[str, str]:
    """Sorts versions from oldest to latest by timestamp; those without one come first, by name."""
    return (timestamp_of(name) or "", name)


def name_at(moment: datetime) -> str:
    """The name of a version made at `moment`, in UTC."""
    return _PREFIX + moment.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
