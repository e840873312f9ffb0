"""The configuration in force, and the paths derived from it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from msgspec import Struct

from nordiq_watch.config.schema import Config


class Settings(Struct, frozen=True):
    """A Config, the directory its relative paths start from, and its file; without a file, the defaults.

    bound_host: the address a running daemon listens on, whatever `server.host` says: that of a passed socket, or of its
    start.
    """

    config: Config
    root: Path
    api_key: str | None = None
    file: Path | None = None
    bound_host: str | None = None

    @property
    def host(self) -> str:
        return self.bound_host or self.config.server.host

    @property
    def other_machines(self) -> bool:
        """True if other machines can reach `host`. A name other than localhost counts as reachable."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def models_dir(self) -> Path:
        return self.root / self.config.models.dir

    @property
    def state_dir(self) -> Path:
        return self.root / self.config.state.dir

    @property
    def archive_dir(self) -> Path:
        return self.state_dir / "archive"

    @property
    def log_file(self) -> Path:
        return self.root / self.config.logs.dir / "inference_daemon.log"

    @property
    def audit_file(self) -> Path:
        return self.root / self.config.logs.dir / "audit.jsonl"

    @property
    def key_file(self) -> Path:
        return self.root / self.config.auth.key_file
