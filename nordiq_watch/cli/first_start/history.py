"""History from files or from Prometheus: read once, written as a dataset, and put into the daemon."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.client.client import Client
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import MissingPackage

if TYPE_CHECKING:
    from nordiq_watch.cli.history_target import Written
    from nordiq_watch.importing.slot_table import SlotTable
    from nordiq_watch.tables.forms import Forms

DATASET = Path("data") / "history"


def read_files(place: Path, config: Config, forms: Forms, *, interval_seconds: int | None) -> SlotTable:
    """All slots of the files. interval_seconds: None for that of the config, or the pace of the files if that is
    longer. Raises DatasetError, MissingPackage and OSError.
    """
    try:
        from nordiq_watch.importing.slot_table import read_slots
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error

    def read(interval: int) -> SlotTable:
        return read_slots(
            [place],
            metrics=config.metrics,
            interval_seconds=interval,
            aggregates=config.window.aggregate,
            forms=forms,
        )

    usual = config.window.interval_seconds
    table = read(interval_seconds or usual)
    pace = table.pace_seconds
    return read(pace) if interval_seconds is None and pace is not None and pace > usual else table


@contextmanager
def fetch(args: argparse.Namespace, root: Path, kept: Settings | None, *, interval_seconds: int) -> Iterator[SlotTable]:
    """The slots of a Prometheus. args: those of `add_prometheus`. What was fetched stays under the state directory
    until the block ends well. Raises ClientError, DatasetError, ConfigError, MissingPackage and OSError.
    """
    from nordiq_watch.cli.prometheus_options import fetched
    from nordiq_watch.config.load import change_settings

    settings = kept or change_settings(
        Settings(config=Config(), root=root), {"window": {"interval_seconds": interval_seconds}}
    )
    try:
        with fetched(args, settings, keep=False) as table:
            yield table
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error


def keep_dataset(table: SlotTable, root: Path, *, anew: bool) -> bool:
    """Writes DATASET below `root` unless it is there; whether it was written."""
    from nordiq_watch.importing.dataset_writer import write_dataset

    if (root / DATASET).is_dir():
        if not anew:
            return False
        shutil.rmtree(root / DATASET)
    write_dataset(table, root / DATASET)
    return True


def fill_daemon(table: SlotTable, client: Client, settings: Settings) -> Written | None:
    """Imports what is young enough for the archive, and so for the window; None if all of it is too old.

    Raises ClientError.
    """
    from nordiq_watch.cli.history_target import DaemonTarget, write_history
    from nordiq_watch.importing.slot_batches import batches_of, count_older
    from nordiq_watch.ingest.build import kept_days
    from nordiq_watch.storage.archive import oldest_kept

    config = settings.config
    since = oldest_kept(time.time(), days=kept_days(config), interval_seconds=config.window.interval_seconds)
    if count_older(table, since) == len(table.slots):
        return None
    batches = batches_of(table, config.metrics, since=since)
    return write_history(DaemonTarget(client, settings), batches, table.labels)
