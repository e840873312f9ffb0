"""The keys of a first start: one for the commands on this machine, and one for what feeds the daemon."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nordiq_watch.api.enums import Role
from nordiq_watch.atomic_file import replace_file
from nordiq_watch.config.settings import Settings
from nordiq_watch.security.key_file import KeyFile, add_entry, new_key, read_key_file, write_key_file
from nordiq_watch.security.keys import ensure_keys

FEED_ID = "feed"
FEED_FILE = ".nordiq_feed_key"


def ensure_both(settings: Settings) -> tuple[Path, bool]:
    """The file with the feed key, and whether it was made just now. Raises ConfigError as `ensure_keys` and `add_entry`
    do: also where the key file has a key `feed` that is not in the file beside it.
    """
    content = read_key_file(settings.key_file) or KeyFile()
    if settings.api_key is None and not content.has_admin and not settings.other_machines:
        write_key_file(settings.key_file, replace(content, plain=new_key()))
    ensure_keys(settings)
    file = settings.key_file.with_name(FEED_FILE)
    known = read_key_file(settings.key_file)
    if file.exists() and known is not None and any(entry.id == FEED_ID for entry in known.entries):
        return file, False
    key = add_entry(settings.key_file, FEED_ID, Role.FEED, created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    replace_file(file, f"{key}\n".encode(), mode=0o600)
    return file, True
