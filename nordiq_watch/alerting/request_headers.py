"""Headers that the operator adds to every POST to the receiver of alerts: a tenant, a token."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path

from nordiq_watch.errors import ConfigError

MOST_BYTES = 65_536
"""Of a file of headers; one this long is some other file."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
_OURS = {"content-type", "content-length", "transfer-encoding", "connection", "host"}


def check_headers(headers: Mapping[str, str], *, where: str) -> dict[str, str]:
    """The headers, if they may be sent. Raises ConfigError that begins with `where` and never shows a value."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{where}: {name[:80]!r} is no name of an HTTP header; write letters, digits and -")
        if name.lower() in _OURS:
            raise ConfigError(f"{where}: {name} is set by nordiq-watch itself; leave it out")
        if not _VALUE.fullmatch(value):
            raise ConfigError(f"{where}: the value of {name} is empty or has characters that no HTTP header may have")
    return dict(headers)


def read_headers(file: Path) -> dict[str, str]:
    """Headers of a file with a line `Name: value` for each; empty lines and those that begin with # are passed over.

    Raises ConfigError with file and line, never with a value.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES + 1).removeprefix(BOM_UTF8).decode("latin-1")
    except OSError as error:
        raise ConfigError(f"alerts.webhook.headers_file: {file} cannot be read ({error.strerror})") from None
    if len(text) > MOST_BYTES:
        raise ConfigError(f"alerts.webhook.headers_file: {file} has more than {MOST_BYTES} bytes")
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        name, colon, value = stripped.partition(":")
        where = f"alerts.webhook.headers_file: {file}, line {number}"
        if not colon:
            raise ConfigError(f"{where}: there is no colon; write `Name: value`")
        headers |= check_headers({name: value.strip(" \t")}, where=where)
    return headers
