"""`nordiq-watch watch`: shows the fleet and the model in a terminal, refreshed until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from nordiq_watch.cli.parsers import Subparsers, add_command, add_connection, positive_seconds
from nordiq_watch.errors import DaemonAway

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nordiq_watch.client.client import Client
    from nordiq_watch.client.http import JsonObject

INTERVAL_SECONDS = 2.0
SHOWN_SERVERS = 12
SHOWN_RELOADS = 3
_DISPLAY_METRICS = {"cpu": "cpu_user_pct", "memory": "mem_used_pct"}
LEVEL_STYLES = {"critical": "bold red", "warning": "dark_orange", "degraded": "yellow", "healthy": "green"}

_EXAMPLES = """\
examples:
  nordiq-watch watch
  nordiq-watch watch --interval 10
  nordiq-watch watch --label team:web
  nordiq-watch watch --once --json | jq .summary
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "watch", "show the fleet and the model, renewed until Ctrl-C", _EXAMPLES)
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=INTERVAL_SECONDS,
        metavar="S",
        help="seconds between looks (default: %(default)g)",
    )
    parser.add_argument("--label", metavar="NAME:VALUE", help="servers with this label; several with commas")
    parser.add_argument("--once", action="store_true", help="one look, and end")
    parser.add_argument("--json", action="store_true", help="one JSON object a look, each on a line, for scripts")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """0 after Ctrl-C. Raises DaemonAway only at the first request; later failures are shown and retried."""
    from nordiq_watch.cli.connection import connect

    viewer = Viewer(connect(args.url, key_file=args.key_file, config=args.config), label=args.label)
    first = viewer.look()
    if args.json:
        return _print_looks(viewer, first, interval=args.interval, once=args.once)
    return _show(viewer, first, interval=args.interval, once=args.once)


class Viewer:
    """Polls one daemon. The forecast, which may be large, is fetched only when there is a newer one.

    label: NAME:VALUE, of the servers that are shown; None: all. Alerts are those of the whole fleet.
    """

    def __init__(self, client: Client, *, label: str | None = None) -> None:
        self._client = client
        self._label = label
        self._path = "/predictions/current" + (f"?{urlencode({'label': label})}" if label else "")
        self._made: tuple[Any, ...] | None = None
        self._forecast: JsonObject = {}

    def look(self) -> JsonObject:
        """Status, model, reloads, alerts and, of the forecast, summary, environment, metadata and servers at risk."""
        status = self._client.http.get("/status").body
        made = (status["last_prediction"], status.get("model_generation"), status.get("stale"))
        if made != self._made:
            self._forecast = summarise(self._client.http.get(self._path).body)
            self._made = made
        return {
            "url": self._client.url,
            "label": self._label,
            "status": status,
            "model": self._client.http.get("/admin/model-info").body,
            "reloads": self._client.http.get("/admin/reloads").body["reloads"][:SHOWN_RELOADS],
            "alerts": self._client.http.get("/alerts/active").body["alerts"],
            **self._forecast,
        }


def summarise(forecast: JsonObject) -> JsonObject:
    """The shown part of a forecast: the servers with the highest risk, without their quantiles."""
    servers = [
        {
            "server_name": name,
            "profile": entry.get("profile"),
            "risk_score": entry.get("risk_score"),
            "level": (entry.get("alert") or {}).get("level"),
            "display_metrics": _measured(entry) | entry.get("display_metrics", {}),
        }
        for name, entry in forecast.get("predictions", {}).items()
    ]
    servers.sort(key=lambda server: -(server["risk_score"] if server["risk_score"] is not None else -1.0))
    kept = ("summary", "environment", "metadata", "error", "message")
    return {"servers": servers[:SHOWN_SERVERS], **{name: forecast[name] for name in kept if name in forecast}}


def _measured(entry: JsonObject) -> JsonObject:
    """What is known of metrics that are not forecast: their newest value."""
    found = {name: (entry.get(metric) or {}).get("current") for name, metric in _DISPLAY_METRICS.items()}
    return {name: {"current": current} for name, current in found.items() if current is not None}


def _print_looks(viewer: Viewer, first: JsonObject, *, interval: float, once: bool) -> int:
    print(json.dumps(first), flush=True)
    while not once:
        time.sleep(interval)
        print(json.dumps(viewer.look()), flush=True)
    return 0


def _show(viewer: Viewer, first: JsonObject, *, interval: float, once: bool) -> int:
    from rich.live import Live

    from nordiq_watch.cli.terminal import open_console

    console = open_console()
    if once:
        console.print(render(first))
        return 0
    look, away = first, None
    with Live(render(first), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            try:
                look, away = viewer.look(), None
            except DaemonAway as error:
                away = str(error)
            live.update(render(look, away=away), refresh=True)


# --- how it looks ---


def render(look: JsonObject, *, away: str | None = None) -> RenderableType:
    """One look as text. `away`: why the content is old."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_head(look)]
    if away:
        parts.append(Text(f"{away}; what follows is from before", style="bold red"))
    if look.get("message"):
        parts.append(Text(str(look["message"]), style="yellow"))
    if look.get("label"):
        found = "servers with the label" if look["servers"] else "no forecast server has the label"
        parts += [Text(), Text(f"{found} {look['label']}", style="italic")]
    if look["servers"]:
        parts += [Text(), _servers(look)]
    parts += [Text(), _reloads(look["reloads"])]
    return Group(*parts)


def _head(look: JsonObject) -> RenderableType:
    from rich.text import Text

    model, status, summary = look["model"], look["status"], look.get("summary") or {}
    head = Text()
    head.append(look["url"], style="dim")
    if model["loaded"]:
        head.append(f"\n{model['model_name']}", style="bold green")
        head.append(f", generation {model['generation']}{', pinned' if model['pinned'] else ''}")
    else:
        head.append("\nno model", style="bold yellow")
    if status.get("stale"):
        head.append("; the forecast is stale", style="yellow")
    counts = {"server": status["servers_tracked"], "sample": status["window_size"], "alert": len(look["alerts"])}
    head.append("\n" + ", ".join(f"{count:,} {noun}{'s' * (count != 1)}" for noun, count in counts.items()))
    for level, style in LEVEL_STYLES.items():
        count = summary.get(f"{'degrading' if level == 'degraded' else level}_count")
        if count is not None:
            head.append(f"  {count} {level}", style=style if count else "dim")
    return head


def _servers(look: JsonObject) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    metadata = look["metadata"]
    hours = metadata["horizon_steps"] * metadata["interval_seconds"] / 3600
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("server", "profile", "risk", "CPU %", f"in {hours:g} h", "memory %", f"in {hours:g} h"):
        table.add_column(heading, justify="left" if heading in ("server", "profile") else "right", no_wrap=True)
    for server in look["servers"]:
        style = LEVEL_STYLES.get(server["level"] or "", "")
        shown = server["display_metrics"]
        cells = [
            _number(shown.get(name, {}).get(when)) for name in ("cpu", "memory") for when in ("current", "predicted")
        ]
        risk = Text(_number(server["risk_score"]), style=style)
        table.add_row(Text(server["server_name"]), Text(server["profile"] or ""), risk, *cells)
    return table


def _reloads(reloads: list[JsonObject]) -> RenderableType:
    from rich.text import Text

    from nordiq_watch.cli.terminal import STYLES

    text = Text("last reloads", style="italic")
    for reload in reloads:
        outcome = reload["outcome"] or reload["state"]
        text.append(
            f"\n{reload['created_at']}  {reload['version'] or reload['requested'] or 'latest'}  ", style="not italic"
        )
        text.append(outcome, style=f"not italic {STYLES.get(outcome, '')}".strip())
        if reload["state"] != "finished":
            text.append(f"  {' '.join(stage['name'] for stage in reload['stages'])} …", style="not italic")
        if reload["reason"]:
            text.append(f"  {reload['reason']}", style="not italic dim")
    if not reloads:
        text.append("\nnone", style="not italic")
    return text


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
