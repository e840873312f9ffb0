"""What a daemon has taken, read from its journal."""

from __future__ import annotations

from nordiq_watch.config.schema import Config
from nordiq_watch.storage.journal import Journal
from support.daemon import DaemonProcess


def last_values(daemon: DaemonProcess, server: str) -> dict[str, float]:
    """The newest value of each metric that the journal holds of a server."""
    file = daemon.root / "state" / "journal.sqlite3"
    journal = Journal(file, metrics=daemon.metrics, interval_seconds=Config().window.interval_seconds)
    found = {
        metric: float(value)
        for batch in journal.replay(0)
        for row, code in zip(batch.values, batch.rows, strict=True)
        if batch.servers[code] == server
        for metric, value in zip(daemon.metrics, row, strict=True)
        if value == value  # NaN is no value
    }
    journal.close()
    return found
