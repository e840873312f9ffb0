"""The API key: NORDIQ_API_KEY, else the key file, else a new one that is written there."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from nordiq_watch.config import API_KEY_VARIABLE, Settings
from nordiq_watch.errors import ConfigError

log = logging.getLogger(__name__)

_KEY_BYTES = 32
_OTHERS_MAY = 0o077


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and where it came from: the environment's variable or the path of the file. Its repr keeps it secret."""

    value: str = field(repr=False)
    source: str


class Keyring:
    """The key that requests must show. `replace` may run while other threads ask."""

    def __init__(self, key: ApiKey) -> None:
        self._digest = _digest(key.value)

    def replace(self, key: ApiKey) -> None:
        self._digest = _digest(key.value)

    def accepts(self, presented: str) -> bool:
        """Whether `presented` is the key. Takes equally long for every wrong one, whatever its length."""
        return hmac.compare_digest(_digest(presented), self._digest)


def find_key(settings: Settings) -> ApiKey | None:
    """The key in force; None when neither the environment nor a file has one. ConfigError as `read_key_file` says."""
    if settings.api_key is not None:
        return ApiKey(_usable(settings.api_key, API_KEY_VARIABLE), API_KEY_VARIABLE)
    return read_key_file(settings.key_file)


def read_key_file(file: Path) -> ApiKey | None:
    """The key in a file; None when there is no such file.

    ConfigError when the file cannot be read or holds no usable key. Warns of a file that others may read.
    """
    try:
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file}: the key cannot be read ({error.strerror}). See auth.key_file.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not a key file: its first line must be the API key, as text") from None
    if mode & _OTHERS_MAY:
        log.warning("%s holds the API key and other users may read or change it; run: chmod 600 %s", file, file)
    return ApiKey(_usable(text, str(file)), str(file))


def ensure_key(settings: Settings) -> ApiKey:
    """The key in force, made and written to the key file (mode 0600) when there is none.

    ConfigError when the file holds no usable key or cannot be written.
    """
    key = find_key(settings)
    if key is None:
        key = _create_key(settings.key_file)
        log.warning("there was no API key: a new one is in %s; send it as X-API-Key", key.source)
    return key


def _create_key(file: Path) -> ApiKey:
    value = secrets.token_urlsafe(_KEY_BYTES)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(value + "\n")
    except OSError as error:
        raise ConfigError(
            f"{file}: a new API key cannot be written there ({error.strerror}). "
            f"Set {API_KEY_VARIABLE}, or name a writable place in auth.key_file."
        ) from None
    return ApiKey(value, str(file))


def _usable(text: str, source: str) -> str:
    """The first line of `text` that is not empty, if a header can carry it."""
    value = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not value:
        raise ConfigError(f"{source}: holds no API key. Write one on its first line, or remove it to get a new one.")
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(f"{source}: the API key must be letters, digits and signs of ASCII, without spaces")
    return value


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
