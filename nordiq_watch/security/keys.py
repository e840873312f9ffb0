"""The API keys in force: NORDIQ_API_KEY, or else the key file's own, and the hashed keys of the key file."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nordiq_watch.api.enums import Role
from nordiq_watch.config.environment import API_KEY_VARIABLE
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.security.key_file import (
    LOCAL_ID,
    KeyFile,
    checked_key,
    hash_key,
    new_key,
    read_key_file,
    write_key_file,
)

log = logging.getLogger(__name__)

_ENVIRONMENT_ID = "environment"
_SHORT_KEY = 16


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who showed a key, as far as that can be known: the key's id, and what it allows."""

    id: str
    role: Role


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and its origin: the environment variable or the path of the file. Its repr hides the key."""

    value: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class KnownKey:
    """The SHA-256 of a key, and its holder."""

    sha256: bytes
    holder: KeyHolder


class Keyring:
    """The accepted keys. `replace` may run while other threads use it."""

    def __init__(self, keys: Sequence[KnownKey]) -> None:
        self._keys = tuple(keys)

    def replace(self, keys: Sequence[KnownKey]) -> tuple[list[str], list[str]]:
        """Replaces the keys. Returns the ids of added and of removed ones."""
        before, self._keys = self._keys, tuple(keys)
        new = [key.holder.id for key in self._keys if key not in before]
        return new, [key.holder.id for key in before if key not in self._keys]

    def identify(self, presented: str) -> KeyHolder | None:
        """The holder of this key; None for a wrong one. Constant time for all keys, right or wrong, of any length."""
        sha256 = hash_key(presented)
        holder = None
        for key in self._keys:
            if hmac.compare_digest(sha256, key.sha256):
                holder = key.holder
        return holder


def find_key(settings: Settings) -> ApiKey | None:
    """The key that commands on this machine send; None if neither the environment nor a file has one.

    Raises ConfigError as `read_key_file` does.
    """
    if settings.api_key is not None:
        return ApiKey(checked_key(settings.api_key, API_KEY_VARIABLE), API_KEY_VARIABLE)
    content = read_key_file(settings.key_file)
    if content is None or content.plain is None:
        return None
    return ApiKey(content.plain, str(settings.key_file))


def ensure_keys(settings: Settings) -> tuple[KnownKey, ...]:
    """The keys in force. If none belongs to an admin, one is made and written to the key file (mode 0600).

    The key in the environment replaces the file's own; hashed keys are valid besides it. Raises ConfigError if a file
    or the variable holds no usable key, if the file cannot be written, and if there is no admin's key although other
    machines can reach the daemon: a key that no person chose must not be their only barrier.
    """
    content = read_key_file(settings.key_file) or KeyFile()
    if settings.api_key is None and not content.has_admin:
        content = _make_first_key(settings, content)
    keys = [KnownKey(bytes.fromhex(entry.sha256), KeyHolder(entry.id, entry.role)) for entry in content.entries]
    if settings.api_key is not None:
        key = checked_key(settings.api_key, API_KEY_VARIABLE)
        _warn_of_short_key(key, API_KEY_VARIABLE, settings)
        keys.append(KnownKey(hash_key(key), KeyHolder(_ENVIRONMENT_ID, Role.ADMIN)))
    elif content.plain is not None:
        _warn_of_short_key(content.plain, str(settings.key_file), settings)
        keys.append(KnownKey(hash_key(content.plain), KeyHolder(LOCAL_ID, Role.ADMIN)))
    return tuple(keys)


def _make_first_key(settings: Settings, content: KeyFile) -> KeyFile:
    if settings.other_machines:
        raise ConfigError(
            f"other machines can reach {settings.host} (server.host, or the socket that systemd passes), and there is "
            f"no API key. Set {API_KEY_VARIABLE}, or make one with `nordiq-watch key add admin --role admin` (it goes "
            f"into {settings.key_file})."
        )
    content = replace(content, plain=new_key())
    write_key_file(settings.key_file, content)
    log.warning("there was no API key: a new one is in %s; send it as X-API-Key", settings.key_file)
    return content


def _warn_of_short_key(key: str, source: str, settings: Settings) -> None:
    if len(key) < _SHORT_KEY and settings.other_machines:
        log.warning(
            "the API key from %s has only %d characters and other machines can reach this one: it can be guessed. "
            "`nordiq-watch key add` makes one that cannot.", source, len(key),
        )  # fmt: skip
