"""The demo's steps. Every number shown is read from the daemon."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, islice
from math import ceil
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.progress import track

from nordiq_watch.artifact.layout import age_key
from nordiq_watch.cli.demo_daemon import Daemon, command, wait_until
from nordiq_watch.cli.demo_folder import INTERVAL_SECONDS, Folder, own, prepare
from nordiq_watch.cli.demo_life import Life, feed
from nordiq_watch.cli.demo_reader import Reader
from nordiq_watch.cli.demo_story import Story
from nordiq_watch.cli.synthetic import METRICS, SLOTS_PER_DAY, Fleet, Simulation, write_csv
from nordiq_watch.cli.terminal import open_console, print_table
from nordiq_watch.client.answers import MetricForecast, Reload
from nordiq_watch.client.client import Client
from nordiq_watch.config.environment import API_KEY_VARIABLE, environment_without_settings, find_remote
from nordiq_watch.errors import ClientError

DAYS = 8
DAY_MINUTES = SLOTS_PER_DAY * INTERVAL_SECONDS // 60
SLOTS_PER_REQUEST = 12
SPARED_SLOTS = 6
"""The window's oldest, which it leaves while the replay goes on."""
LOOK_AGAIN_SECONDS = 0.5
FIRST_EPOCHS = 3
SECOND_EPOCHS = 1
FORECAST_SECONDS = 60.0
LIVE_SECONDS = 60.0
TRAINER_THREADS = {"OMP_NUM_THREADS": "1"}
"""The network is too small for more, and waiting threads would keep the daemon from its core."""
SHOWN_METRICS = {"CPU": "cpu_user_pct", "memory": "mem_used_pct"}


def show(root: Path, *, port: int | None, end_after: bool) -> None:
    """Runs the whole demo in `root`; returns at its end or after Ctrl-C. Raises NordiqError if a step fails."""
    console, folder = open_console(), Folder(root)
    port = port or _find_port()
    _let_signals_unwind()
    with own(folder):
        _say_where(console, folder, renewed=prepare(folder, port))
        simulation, fleet = _make_data(console, folder)
        _announce(console, "1/6  Training a first, small model")
        first = _train(folder, epochs=FIRST_EPOCHS)
        _announce(console, "2/6  Starting the daemon")
        with Daemon(folder, port=port) as daemon:
            client = _start(console, daemon, first)
            _replay(console, client, simulation, fleet)
            with Life(daemon.connect(), simulation) as life:
                _announce(console, "4/6  A live forecast")
                _show_forecast(console, client)
                _show_hot_reload(console, daemon, folder)
                life.check()
                _show_addresses(console, daemon.url, folder)
                if not end_after:
                    _live_on(console, daemon, life)
    console.print("The daemon has stopped.")


def _say_where(console: Console, folder: Folder, *, renewed: bool) -> None:
    over = ", made anew over an earlier one" if renewed else ""
    console.print(f"Everything of this demo is in {folder.root}/{over}.")


def _make_data(console: Console, folder: Folder) -> tuple[Simulation, Fleet]:
    """The fleet up to now, and what goes on from there."""
    now = time.time()
    first_slot = int(now // INTERVAL_SECONDS) - DAYS * SLOTS_PER_DAY
    simulation = Simulation(first_slot, interval_seconds=INTERVAL_SECONDS)
    fleet = simulation.run_until(now)
    write_csv(fleet, folder.dataset / "fleet.csv")
    console.print(
        f"The data is synthetic: {len(fleet.servers)} servers that do not exist, {len(METRICS)} metrics every "
        f"{INTERVAL_SECONDS} s, with daily rhythm, noise and incidents. To be watched, they live fast: "
        f"their day lasts {DAY_MINUTES} minutes. There are {DAYS} days of them."
    )
    return simulation, fleet


def _train(folder: Folder, *options: str, epochs: int) -> str:
    """Runs the real trainer as a separate process; returns the new version's name."""
    before = folder.versions()
    trainer = command("train", "--dataset", folder.dataset, "--epochs", epochs, "--models-dir", folder.models)
    environment = environment_without_settings() | TRAINER_THREADS
    code = subprocess.call([*trainer, "--config", str(folder.config), *options], env=environment)
    if code != 0:
        raise ClientError(f"the training ended with exit code {code}; it says above why")
    return max(folder.versions() - before, key=age_key)


def _start(console: Console, daemon: Daemon, version: str) -> Client:
    daemon.await_answer()
    client = daemon.connect()
    wait_until(lambda: _is_live(client, version), LIVE_SECONDS, what=f"{version} to go live")
    wait_until(client.ready, LIVE_SECONDS, what="GET /ready to say yes")
    console.print(f"It answers at {daemon.url}; live: {client.model_info().model_name}")
    return client


def _replay(console: Console, client: Client, simulation: Simulation, before: Fleet) -> None:
    """before: the fleet up to the begin of the training."""
    _announce(console, f"3/6  Feeding the last {DAY_MINUTES} minutes of every server, and what comes from now on")
    since = simulation.run_until(time.time())
    oldest = max(0, SLOTS_PER_DAY - len(since.slots) - SPARED_SLOTS)
    slots = chain(before.records(newest=oldest), since.records())
    requests = range(ceil((oldest + len(since.slots)) / SLOTS_PER_REQUEST))
    for _ in track(requests, "feeding", console=console, transient=True, disable=not console.is_terminal):
        feed(client, islice(slots, SLOTS_PER_REQUEST))
    wait_until(
        lambda: _is_forecast(client, since), FORECAST_SECONDS, what="a forecast of every server from its last sample"
    )
    status = client.status()
    console.print(f"{status.window_size} samples of {status.servers_tracked} servers are in the window.")


def _is_forecast(client: Client, fleet: Fleet) -> bool:
    forecast = client.predictions()
    if len(forecast.servers) < len(fleet.servers):
        return False
    begin = datetime.fromisoformat(forecast.metadata["horizon_start"]).timestamp()
    return begin >= (int(fleet.slots[-1]) + 1) * INTERVAL_SECONDS


def _show_forecast(console: Console, client: Client) -> None:
    forecast = client.predictions()
    metadata = forecast.metadata
    ahead = f"in {metadata['horizon_steps'] * metadata['interval_seconds'] / 60:g} min"
    headings = ["server"]
    for name in SHOWN_METRICS:
        headings += [f"{name} % now", ahead, "p10 to p90"]
    rows = [
        [name, *(cell for metric in SHOWN_METRICS.values() for cell in _describe(server.metrics[metric]))]
        for name, server in forecast.servers.items()
    ]
    print_table(f"GET /predictions/current, by {metadata['model_version']}", headings, rows, console=console)


def _describe(metric: MetricForecast) -> tuple[str, str, str]:
    return f"{metric.current:.1f}", f"{metric.p50[-1]:.1f}", f"{metric.p10[-1]:.1f} to {metric.p90[-1]:.1f}"


def _show_hot_reload(console: Console, daemon: Daemon, folder: Folder) -> None:
    """Trains a second version while a client reads, waits until it is live, and reports what the client saw."""
    _announce(console, "5/6  Training a second model from the first, while a client reads on")
    client = daemon.connect()
    before = client.model_info()
    with Reader(daemon.connect()) as reader:
        name = _train(folder, "--incremental", epochs=SECOND_EPOCHS)
        wait_until(lambda: _is_live(client, name), LIVE_SECONDS, what=f"{name} to go live")
        wait_until(lambda: name in reader.versions, FORECAST_SECONDS, what=f"an answer by {name}")
    after = client.model_info()
    _announce(console, "6/6  The hot reload: by itself, and nothing was restarted")
    rows = [
        (name, info.model_name, info.generation, (info.sha256 or "")[:12])
        for name, info in (("before", before), ("after", after))
    ]
    print_table("GET /admin/model-info", ("", "version", "generation", "sha256"), rows, console=console)
    _show_stages(console, _find_reload(client, name))
    _show_book(console, reader)
    _show_forecast(console, client)


def _is_live(client: Client, name: str) -> bool:
    reload = _find_reload(client, name)
    if reload is not None and not reload.succeeded:
        raise ClientError(f"the daemon rejected {name}: {reload.reason}")
    return client.model_info().model_name == name


def _find_reload(client: Client, name: str) -> Reload | None:
    """The newest finished reload of this version, if there is one."""
    return next((reload for reload in client.reloads() if reload.version == name and reload.outcome is not None), None)


def _show_stages(console: Console, reload: Reload | None) -> None:
    if reload is None:
        raise ClientError("the daemon does not know its reload any more")
    stages = [(stage.name, stage.seconds) for stage in reload.stages]
    title = f"reload {reload.id}, trigger: {reload.trigger}, outcome: {reload.outcome}"
    print_table(title, ("stage", "seconds"), stages, console=console)


def _show_book(console: Console, reader: Reader) -> None:
    """Raises ClientError if the reload had failures: the demo then demonstrates a fault."""
    console.print(
        f"Meanwhile a client asked {reader.requests} times for the forecast: {len(reader.failures)} requests failed, "
        f"the slowest took {reader.slowest_seconds * 1000:.0f} ms. "
        f"It was answered by {', then '.join(reader.versions)}."
    )
    if reader.failures:
        raise ClientError(f"requests failed during the reload; the first: {reader.failures[0]}")


def _show_addresses(console: Console, url: str, folder: Folder) -> None:
    from_environment = find_remote().api_key is not None
    key = f"${API_KEY_VARIABLE}" if from_environment else f"$(cat {folder.key_file})"
    program = "nordiq-watch" if shutil.which("nordiq-watch") else " ".join(command())
    console.print()
    console.print(
        f"The daemon is at {url}; its API key is in {API_KEY_VARIABLE if from_environment else folder.key_file}"
    )
    for line in (
        f"curl -s {url}/status",
        f'curl -s -H "X-API-Key: {key}" {url}/predictions/current',
        f'curl -s -H "X-API-Key: {key}" {url}/admin/models',
        f"{program} models --config {folder.config}",
        f"{program} rollback --config {folder.config}",
    ):
        console.print(f"  {line}", soft_wrap=True)


def _live_on(console: Console, daemon: Daemon, life: Life) -> None:
    """Tells what happens until Ctrl-C. Raises ClientError if the daemon or the feeding ends by itself."""
    console.print("\nThe fleet lives on, and what happens is told here. Running until Ctrl-C.")
    story = Story(daemon.connect())
    life.strike()
    with _interrupts() as interrupted:
        while not interrupted.wait(LOOK_AGAIN_SECONDS):
            daemon.check()
            life.check()
            for line in story.look():
                console.print(f"{datetime.now(UTC):%H:%M:%S}  {line}", soft_wrap=True)


def _announce(console: Console, title: str) -> None:
    console.print(f"\n{title}", style="bold")


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets. An exception instead could come where it is lost, such as in a callback."""
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _let_signals_unwind() -> None:
    """Turns SIGTERM and SIGHUP into exceptions, so that the daemon is stopped on the way out."""

    def unwind(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, unwind)
