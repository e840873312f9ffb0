"""Which server a collector's series belongs to, and which labels tell its series apart."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from hashlib import blake2b
from typing import TypeAlias

from nordiq_watch.names import tidy_name

log = logging.getLogger(__name__)

_DIGEST_BYTES = 16

Key: TypeAlias = bytes
"""Identifies a series of one server: a digest, 64 bytes of memory where the labels would take a thousand."""


class ServerNames:
    """The naming rules of one kind of collector. section: its settings, as messages name them."""

    def __init__(self, *, section: str, server_label: str) -> None:
        self._section = section
        self._server_label = server_label
        self._nameless_mentioned = False

    def name_of(self, labels: Mapping[str, str]) -> str:
        """The server's name, empty for a series that is left out; the log says why, once."""
        name = _without_port(tidy_name(labels.get(self._server_label, "")))
        if not name:
            self._mention_nameless()
        return name

    def key_of(self, labels: Mapping[str, str]) -> Key:
        """The same for two series of a server that are one and the same."""
        text = "\xff".join(f"{name}\xfe{labels[name]}" for name in sorted(labels))
        return blake2b(text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()

    def _mention_nameless(self) -> None:
        if not self._nameless_mentioned:
            self._nameless_mentioned = True
            log.warning(
                "%s: series come without the label %s, which would name their server: they are left out",
                self._section,
                self._server_label,
            )


def _without_port(name: str) -> str:
    """Without the port of a scrape's target, `web1:9100`."""
    host, colon, port = name.rpartition(":")
    return tidy_name(host) if colon and port.isdigit() and host else name
