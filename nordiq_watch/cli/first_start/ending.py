"""What `init` says at its end: the address, the key, some servers with their forecast, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from nordiq_watch.cli.first_start.order import Order, Source
from nordiq_watch.cli.install_service import own_program
from nordiq_watch.cli.terminal import print_table
from nordiq_watch.client.answers import FleetForecast, MetricForecast
from nordiq_watch.config.environment import API_KEY_VARIABLE
from nordiq_watch.config.settings import Settings
from nordiq_watch.security.keys import find_key

SERVERS = 3
METRICS = 2
PROMETHEUS_KEY = "/etc/prometheus/nordiq_feed_key"
PREFERRED = ("cpu_user_pct", "mem_used_pct", "disk_usage_pct", "load_average")


def show_forecast(console: Console, forecast: FleetForecast) -> None:
    """SERVERS of them with METRICS each: those with the highest risk."""
    metadata = forecast.metadata
    ahead = f"in {metadata['horizon_steps'] * metadata['interval_seconds'] / 3600:.3g} h"
    worst = sorted(forecast.servers.items(), key=lambda entry: -(entry[1].risk_score or 0))[:SERVERS]
    rows = []
    for name, server in worst:
        known = {metric: values for metric, values in server.metrics.items() if values.is_forecast}
        order = [metric for metric in PREFERRED if metric in known] + sorted(known.keys() - set(PREFERRED))
        rows += [[name, metric, *_describe(known[metric])] for metric in order[:METRICS]]
    by = metadata.get("model_version") or metadata.get("model_type")
    title = f"{len(forecast.servers)} servers are forecast, by {by}; those with the highest risk:"
    print_table(title, ("server", "metric", "now", ahead, "p10 to p90"), rows, console=console)


def _describe(metric: MetricForecast) -> tuple[str, str, str]:
    now = "-" if metric.current is None else f"{metric.current:.1f}"
    return now, f"{metric.p50[-1]:.1f}", f"{metric.p10[-1]:.1f} to {metric.p90[-1]:.1f}"


def show_address(console: Console, settings: Settings, url: str) -> None:
    """The key itself only at a terminal: what goes into a file or a log is read by others."""
    key = find_key(settings)
    console.print(f"\naddress   {url}", soft_wrap=True)
    if key is None or key.source == API_KEY_VARIABLE:
        console.print(f"key       the one in {API_KEY_VARIABLE}", soft_wrap=True)
    else:
        shown = f"{key.value}  (in {key.source})" if console.is_terminal else f"in {key.source}"
        console.print(f"key       {shown}", soft_wrap=True)


def next_steps(order: Order, settings: Settings, url: str, *, feed_file: Path, root: Path) -> Iterator[str]:
    """Lines: what feeds the daemon from now on, and what retrains it. They name the program with its path, because cron
    and sudo do not have this shell's.
    """
    program = own_program()
    if order.source is Source.PROMETHEUS:
        yield "From now on Prometheus sends what it scrapes. A copy of the key that it can read:"
        yield f"  sudo install -m 400 -o prometheus {feed_file.absolute()} {PROMETHEUS_KEY}"
        yield "and in prometheus.yml, then reload it:"
        yield "  remote_write:"
        yield f"    - url: {url}/feed/prometheus"
        yield f"      authorization: {{credentials_file: {PROMETHEUS_KEY}}}"
    elif order.source is Source.DATASET:
        yield "From now on feed what is measured (docs/collectors.md), or measure this machine:"
        yield f"  nordiq-watch agent --url {url} --key-file {feed_file}"
    here = root.absolute()
    yield "Retraining is a line in cron, every Sunday for example; the new version goes live by itself:"
    yield f"  0 3 * * 0  cd {here} && {program} train --dataset state/archive --max-minutes 60"
    yield "For good, under systemd, with a timer that retrains (stop the daemon in the background first):"
    yield f"  sudo {program} install-service --data-dir {here}       # says what comes next"
    yield f"  sudo install -D -m 600 {settings.key_file.absolute()} /etc/nordiq-watch/keys"
    yield f"  sudo chown -R nordiq-watch: {here}"
