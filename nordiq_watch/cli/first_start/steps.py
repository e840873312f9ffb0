"""`init` step by step. Each says what it did, or that it is done already."""

from __future__ import annotations

import argparse
import subprocess
import textwrap
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console

from nordiq_watch.artifact.layout import age_key, is_candidate
from nordiq_watch.cli.demo_daemon import command, wait_until
from nordiq_watch.cli.first_start.background import find_daemon, start_agent, start_daemon
from nordiq_watch.cli.first_start.config_file import KEPT, NAME, check_against, plan_changes, write_config
from nordiq_watch.cli.first_start.ending import next_steps, show_address, show_forecast
from nordiq_watch.cli.first_start.history import DATASET, fetch, fill_daemon, keep_dataset, read_files
from nordiq_watch.cli.first_start.keys import ensure_both
from nordiq_watch.cli.first_start.order import Order, Source
from nordiq_watch.cli.reading import forms_of
from nordiq_watch.client.client import Client
from nordiq_watch.config.environment import environment_without_settings
from nordiq_watch.config.load import load_settings
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.tables.forms import AS_THEY_ARE

if TYPE_CHECKING:
    from nordiq_watch.importing.slot_table import SlotTable

FORECAST_SECONDS = 120.0
AGENT_SECONDS = 60
SHOWN = 8
_TOO_OLD = "all of it is too old for the daemon's archive: forecasts begin when the servers are fed"


class FirstStart:
    """The steps in their order, in the directory `root`. consent: whether a person agrees to what is shown."""

    def __init__(
        self, order: Order, args: argparse.Namespace, root: Path, *, console: Console, consent: Callable[[str], bool]
    ) -> None:
        self._order = order
        self._args = args
        self._root = root
        self._console = console
        self._consent = consent
        self._number = 0

    def run(self) -> bool:
        """Whether all succeeded; False if no model could be trained, or consent was not given. Raises NordiqError and
        OSError.
        """
        kept = self._kept_settings()
        with ExitStack() as stack:
            return self._run(kept, self._look(kept, stack))

    def _run(self, kept: Settings | None, table: SlotTable | None) -> bool:
        settings = kept or self._write_config(table)
        if settings is None:
            return False
        feed_file = self._make_keys(settings)
        client = self._serve(settings)
        if table is None:
            trained = True
            self._measure(settings, client, feed_file)
        else:
            self._import(table, settings, client)
            trained = self._train(settings, client)
        self._end(settings, client, feed_file, trained=trained)
        return trained

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)

    def _begin(self, title: str) -> None:
        self._number += 1
        self._console.print(f"\n{self._number}  {title}", style="bold", soft_wrap=True)

    def _kept_settings(self) -> Settings | None:
        """Those of a config.yaml that is there and stays."""
        order, path = self._order, self._root / NAME
        if not path.exists():
            return None
        settings = load_settings(path)
        if not order.force:
            check_against(settings, interval_seconds=order.interval_seconds, zone=order.zone, port=order.port)
            return settings
        if find_daemon(settings) is not None:
            raise ConfigError(f"a daemon runs with {path}: stop it before the file is written anew")
        return None

    def _look(self, kept: Settings | None, stack: ExitStack) -> SlotTable | None:
        """What is found at the source; None if there is no history. stack: closed once it is no longer needed."""
        order = self._order
        if order.source is Source.AGENT:
            return None
        self._begin(f"Looking at {order.place}")
        config = kept.config if kept else Config()
        interval = kept.config.window.interval_seconds if kept else order.interval_seconds
        known = self._root / DATASET
        if order.source is Source.PROMETHEUS and known.is_dir() and not order.force:
            self._say(f"   was fetched before, into {known}")
            table = read_files(known, config, AS_THEY_ARE, interval_seconds=interval)
        elif order.source is Source.PROMETHEUS:
            seconds = interval or config.window.interval_seconds
            table = stack.enter_context(fetch(self._args, self._root, kept, interval_seconds=seconds))
        else:
            table = read_files(Path(order.place), config, forms_of(self._args), interval_seconds=interval)
        self._describe(table)
        return table

    def _describe(self, table: SlotTable) -> None:
        from nordiq_watch.importing.summary import summarize

        found = summarize(table, now=time.time())
        for note in found.notes:
            self._say(f"   note: {note}")
        names = ", ".join(found.servers[:SHOWN]) + (", …" if len(found.servers) > SHOWN else "")
        self._say(f"   {len(found.servers):,} servers: {names}")
        self._say(f"   {len(found.metrics)} metrics: {', '.join(metric.name for metric in found.metrics)}")
        pace = f"every {found.pace_seconds} s" if found.pace_seconds else "now and then"
        self._say(f"   {found.first} to {found.last}, {pace}; {found.rows:,} slots of {found.interval_seconds} s")
        for metric in found.metrics:
            if metric.looks_like_share:
                self._say(f"   {metric.name} looks like shares of 1: --column '{metric.name}=COLUMN*100' makes percent")

    def _write_config(self, table: SlotTable | None) -> Settings | None:
        order, path = self._order, self._root / NAME
        self._begin(f"{path}")
        default = Config()
        changes = plan_changes(
            interval_seconds=table.interval_seconds
            if table
            else order.interval_seconds or default.window.interval_seconds,
            zone=order.zone or default.training.calendar.zone,
            port=order.port or default.server.port,
        )
        said = yaml.safe_dump(changes, sort_keys=False).rstrip() if changes else "nothing: the defaults fit"
        self._say("   differs from the defaults in\n" + textwrap.indent(said, "     "))
        if not self._consent("Go on?"):
            self._say("   nothing was written")
            return None
        was_there = path.exists()
        settings = write_config(path, changes)
        self._say("   written" + (f"; the old one is {KEPT}" if was_there else ""))
        return settings

    def _make_keys(self, settings: Settings) -> Path:
        self._begin("Keys")
        feed_file, made = ensure_both(settings)
        done = "written" if made else "are there"
        self._say(f"   {settings.key_file} (admin) and {feed_file} (may only feed) {done}")
        return feed_file

    def _serve(self, settings: Settings) -> Client:
        self._begin("The daemon")
        client = find_daemon(settings)
        if client is not None:
            self._say(f"   runs already at {client.url}")
            return client
        client, process = start_daemon(settings)
        self._say(f"   runs in the background at {client.url}; `kill {process}` stops it")
        return client

    def _measure(self, settings: Settings, client: Client, feed_file: Path) -> None:
        """Has the agent measure this machine, unless it does already."""
        self._begin("Measuring this machine")
        if client.status().servers_tracked:
            self._say("   measurements are coming in already")
            return
        interval = min(AGENT_SECONDS, settings.config.window.interval_seconds)
        options = ("--url", client.url, "--key-file", feed_file, "--interval", interval)
        process = start_agent(settings, *options)
        self._say(f"   every {interval} s, in the background; `kill {process}` stops it")

    def _import(self, table: SlotTable, settings: Settings, client: Client) -> None:
        self._begin("History")
        target = self._root / DATASET
        if keep_dataset(table, self._root, anew=self._order.force):
            self._say(f"   the dataset {target} is written")
        else:
            self._say(f"   the dataset {target} is there already")
        written = fill_daemon(table, client, settings)
        if written is None:
            self._say(f"   {_TOO_OLD}")
            return
        new = f"{written.window:,} slots went into the daemon's window, {written.archive:,} into its archive"
        self._say(f"   {new}; {written.unchanged:,} were there already")
        if written.refused or written.rejected:
            self._say(f"   {written.refused + written.rejected:,} were not taken; the daemon's log says why")

    def _train(self, settings: Settings, client: Client) -> bool:
        """Whether a trained version is live in the end."""
        self._begin("A first model")
        before = _versions(settings)
        if before:
            self._say(f"   {max(before, key=age_key)} is there already; `nordiq-watch train` makes another")
            return client.model_info().loaded
        dataset, minutes = self._root / DATASET, f"{self._order.max_minutes:g}"
        trainer = command("train", "--dataset", dataset, "--max-minutes", minutes, "--config", settings.file)
        code = subprocess.call(trainer, env=environment_without_settings(), stdout=subprocess.DEVNULL)
        made = _versions(settings) - before
        if code != 0 or not made:
            self._say("   no model was made, for the reason above; once that is mended, the same `init` goes on here")
            return False
        client.wait_for_live(max(made, key=age_key))
        return True

    def _end(self, settings: Settings, client: Client, feed_file: Path, *, trained: bool) -> None:
        self._begin("The first forecast")
        if self._order.source is not Source.AGENT and trained and client.status().servers_ready:
            wait_until(lambda: bool(client.predictions().servers), FORECAST_SECONDS, what="a forecast")
        forecast = client.predictions()
        if forecast.servers:
            show_forecast(self._console, forecast)
        else:
            self._say(f"   not yet: {forecast.message}")
        show_address(self._console, settings, client.url)
        self._say("")
        for line in next_steps(self._order, settings, client.url, feed_file=feed_file, root=self._root):
            self._say(line)


def _versions(settings: Settings) -> set[str]:
    folder = settings.models_dir
    return {path.name for path in folder.iterdir() if is_candidate(path.name)} if folder.is_dir() else set()
