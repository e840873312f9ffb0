"""The key file: at most one key in clear, for commands on this machine, and any number of others as hashes.

    N2x1…                                              on the first line: the admin key of this machine, id `local`
    grafana read sha256:5e88… 2025-01-30T14:30:00Z     by `nordiq-watch key add`: the key itself is stored nowhere

Keys made here have 256 random bits, so one round of SHA-256 is enough: slow hashes protect passwords that can be
guessed, and 256 bits cannot be guessed however fast each attempt is.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from nordiq_watch.api.enums import Role
from nordiq_watch.atomic_file import replace_file
from nordiq_watch.errors import ConfigError

log = logging.getLogger(__name__)

LOCAL_ID = "local"
"""Id of the key on the first line."""

RESERVED_IDS = (LOCAL_ID, "environment")
ROLES: tuple[str, ...] = tuple(Role)

_KEY_BYTES = 32
_OTHERS_MAY = 0o077
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ENTRY = re.compile(rf"({_ID.pattern}) ({'|'.join(ROLES)}) sha256:([0-9a-f]{{64}}) (\S+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key stored as a hash. created: ISO 8601, for people."""

    id: str
    role: Role
    sha256: str
    created: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Content of a key file. Its repr hides the secret."""

    plain: str | None = field(default=None, repr=False)
    entries: tuple[Entry, ...] = ()

    @property
    def has_admin(self) -> bool:
        return self.plain is not None or any(entry.role == "admin" for entry in self.entries)


def new_key() -> str:
    return secrets.token_urlsafe(_KEY_BYTES)


def hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_key_file(path: Path) -> KeyFile | None:
    """Reads the keys of a file; None if there is no such file.

    Raises ConfigError, with the line, if it cannot be read or parsed. Warns if other users may read the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read ({error.strerror}). See auth.key_file.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a key file: its first line must be the API key, as text") from None
    if mode & _OTHERS_MAY:
        log.warning("%s holds the API key and other users may read or change it; run: chmod 600 %s", path, path)
    return _parse(text, path)


def checked_key(text: str, source: str) -> str:
    """The key without surrounding blanks. Raises ConfigError if an HTTP header cannot carry it."""
    key = text.strip()
    if not key:
        raise ConfigError(f"{source}: holds no API key. Write one on its first line, or remove it to get a new one.")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{source}: the API key must be letters, digits and signs of ASCII, without spaces")
    return key


def add_entry(path: Path, key_id: str, role: Role, *, created: str) -> str:
    """Makes a key, adds its hash to the file and returns the key, which cannot be recovered later.

    Raises ConfigError for an id that is taken or invalid, or a file that cannot be written.
    """
    if not _ID.fullmatch(key_id) or key_id in RESERVED_IDS:
        raise ConfigError(
            f"{key_id!r:.80} cannot be a key's id: take up to 64 letters, digits and _.- "
            f"(and neither {' nor '.join(RESERVED_IDS)})"
        )
    with _exclusive(path):
        content = read_key_file(path) or KeyFile()
        if any(entry.id == key_id for entry in content.entries):
            raise ConfigError(f"{path}: has a key {key_id!r} already. Take another id, or revoke that one first.")
        key = new_key()
        entry = Entry(key_id, role, hash_key(key).hex(), created)
        write_key_file(path, replace(content, entries=(*content.entries, entry)))
    return key


def revoke(path: Path, key_id: str) -> None:
    """Removes a key from the file. Raises ConfigError if the id is unknown or the file cannot be written."""
    with _exclusive(path):
        content = read_key_file(path) or KeyFile()
        left = tuple(entry for entry in content.entries if entry.id != key_id)
        is_plain = key_id == LOCAL_ID and content.plain is not None
        if len(left) == len(content.entries) and not is_plain:
            raise ConfigError(f"{path}: has no key {key_id!r:.80}; `nordiq-watch key list` shows those that it has")
        remaining = KeyFile(None if is_plain else content.plain, left)
        if remaining == KeyFile():
            raise ConfigError(f"{path}: {key_id!r} is the last key; add another one first")
        write_key_file(path, remaining)


def write_key_file(path: Path, content: KeyFile) -> None:
    """Replaces the file atomically, mode 0600, keeping its owner. Raises ConfigError if that fails."""
    plain = [content.plain] if content.plain is not None else []
    entries = [f"{entry.id} {entry.role} sha256:{entry.sha256} {entry.created}" for entry in content.entries]
    text = "".join(f"{line}\n" for line in (*plain, *entries))
    try:
        replace_file(path, text.encode("ascii"), mode=0o600, owner=_owner_to_keep(path))
    except OSError as error:
        raise ConfigError(
            f"{path}: a new API key cannot be written there ({error.strerror}). "
            "Set NORDIQ_API_KEY, or name a writable place in auth.key_file."
        ) from None


def _owner_to_keep(path: Path) -> tuple[int, int] | None:
    """If root adds a key, the daemon must still be able to read the file."""
    if os.geteuid() != 0 or not path.exists():
        return None
    owner = path.stat()
    return owner.st_uid, owner.st_gid


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """A lock for reading, changing and writing the file."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot be opened ({error.strerror}). See auth.key_file.") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _parse(text: str, path: Path) -> KeyFile:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    kept = [(number, line) for number, line in lines if line and line != "#" and not line.startswith("# ")]
    plain = None
    if not kept or not _ENTRY.fullmatch(kept[0][1]):
        plain = checked_key(kept.pop(0)[1] if kept else "", str(path))
    entries: dict[str, Entry] = {}
    for number, line in kept:
        match = _ENTRY.fullmatch(line)
        if match is None or match[1] in entries:
            raise ConfigError(
                f"{path}: line {number} is not a key, or one whose id is taken. Lines after the first are those that "
                "`nordiq-watch key add` writes."
            )
        entries[match[1]] = Entry(match[1], Role(match[2]), match[3], match[4])
    return KeyFile(plain, tuple(entries.values()))
