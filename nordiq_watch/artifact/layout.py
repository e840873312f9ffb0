"""Names: which directories under models/ are versions, which files they hold, and which version is the latest."""

from __future__ import annotations

import re
from datetime import UTC, datetime

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
MAPPING_FILE = "server_mapping.json"
INFO_FILE = "training_info.json"
SIGNATURE_FILE = "signature.json"
REQUIRED_FILES = (WEIGHTS_FILE, CONFIG_FILE, MAPPING_FILE)

_PREFIX = "tft_model_"
_CANDIDATE = re.compile(r"tft_model_[A-Za-z0-9_.-]+")
_TIMESTAMP = re.compile(r"tft_model_(\d{8}_\d{6})")
_UNFINISHED = (".tmp", ".partial")


def is_candidate(name: str) -> bool:
    """Whether a directory of this name is a version. Hidden and unfinished names never are."""
    return _CANDIDATE.fullmatch(name) is not None and not name.endswith(_UNFINISHED)


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
    """Sorts versions from the oldest to the latest: by timestamp, and those without one before all others, by name."""
    return (timestamp_of(name) or "", name)


def name_at(moment: datetime) -> str:
    """The name of a version made at `moment`, in UTC."""
    return _PREFIX + moment.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
