"""`nordiq-watch servers`: lists the servers that the daemon knows, removes one, and puts one into maintenance."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from nordiq_watch.api.enums import ServerState
from nordiq_watch.cli.parsers import Subparsers, add_command, add_connection, positive_minutes

if TYPE_CHECKING:
    from nordiq_watch.client.http import Answer, Http

_EXAMPLES = """\
examples:
  nordiq-watch servers
  nordiq-watch servers --state silent --json | jq -r '.servers[].server_name'
  nordiq-watch servers --label team:web --group state
  nordiq-watch servers remove ppweb007
  nordiq-watch servers maintenance ppdb001 --minutes 90 --reason disk
  nordiq-watch servers maintenance ppdb001 --until 2026-01-31T06:00:00Z
  nordiq-watch servers resume ppdb001
"""
_ORDERS = {
    "remove": "forget a server at once: window, alerts, history; one that sends again is new",
    "maintenance": "raise no alert of a server until a time; forecasts go on",
    "resume": "end a server's maintenance",
}
_SELECTORS = {
    "state": "servers in this state: live, silent, ended or maintenance; several with commas",
    "profile": "servers with this profile; several with commas",
    "label": "servers with this label, as NAME:VALUE; several with commas",
    "group": "count them by profile, state or label:NAME instead",
}
_JSON_HELP = "print the daemon's answer as it came, for scripts"
_SERVERS_PER_PAGE = 1000


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "servers", "list the servers, remove one, or put one into maintenance", _EXAMPLES)
    for name, meaning in _SELECTORS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=meaning)
    _add_common(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for action, summary in _ORDERS.items():
        order = add_command(actions, action, summary, _EXAMPLES)
        order.argument_default = argparse.SUPPRESS  # else it would overwrite what stands before the action
        order.add_argument("name", metavar="NAME", help="the server's name, exactly as in the feed")
        if action == "maintenance":
            end = order.add_mutually_exclusive_group(required=True)
            end.add_argument("--until", metavar="TIME", help="its end: ISO 8601; of no zone, it is UTC")
            end.add_argument("--minutes", type=positive_minutes, metavar="N", help="how long from now on")
            order.add_argument("--reason", default="", metavar="TEXT", help="shown beside the server")
        _add_common(order)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """DaemonAway and DaemonRefused as the client raises them."""
    from nordiq_watch.cli.connection import connect
    from nordiq_watch.cli.encodings import print_json

    http = connect(args.url, key_file=args.key_file, config=args.config).http
    if args.action is None:
        _list(http, args)
        return 0
    answer = _carry_out(http, args)
    if args.json:
        print_json(answer.text.strip())
    else:
        print(_describe(args.action, args.name, answer.body))
    return 0


def _carry_out(http: Http, args: argparse.Namespace) -> Answer:
    from urllib.parse import quote

    from nordiq_watch.client.client import FORGET_SECONDS

    path = f"/servers/{quote(args.name, safe='')}"
    if args.action == "maintenance":
        until = args.until if "until" in args else time.time() + 60 * args.minutes
        return http.post(f"{path}/maintenance", json={"until": until, "reason": args.reason})
    return http.request(
        "DELETE", path if args.action == "remove" else f"{path}/maintenance", answer_seconds=FORGET_SECONDS
    )


def _describe(action: str, name: str, body: dict[str, Any]) -> str:
    if action == "remove":
        pending = f"; pending: {', '.join(body['pending'])}" if body["pending"] else ""
        return f"{name} is forgotten by: {', '.join(body['forgotten']) or 'nothing yet'}{pending}"
    maintenance = body["maintenance"]
    if maintenance is None:
        return f"{name} is not in maintenance any more"
    if maintenance["until"] is None:
        return f"{name} is in maintenance still: {maintenance['reason']}"
    return f"{name} is in maintenance until {maintenance['until']}: no alert of it is raised"


def _list(http: Http, args: argparse.Namespace) -> None:
    """All pages, as one answer with --json."""
    from nordiq_watch.cli.encodings import print_json

    found = _ask(http, args)
    if args.json:
        import json

        print_json(json.dumps(found))
    else:
        (_show if args.group is None else _show_groups)(found)


def _ask(http: Http, args: argparse.Namespace) -> dict[str, Any]:
    from urllib.parse import urlencode

    query = {name: getattr(args, name) for name in _SELECTORS if getattr(args, name) is not None}
    query["limit"] = str(_SERVERS_PER_PAGE)
    servers: list[Any] = []
    while True:
        page = http.get(f"/servers?{urlencode(query)}").body
        servers += page["servers"]
        if page["next_cursor"] is None:
            return {**page, "servers": servers, "count": len(servers)}
        query["cursor"] = page["next_cursor"]


def _show(found: dict[str, Any]) -> None:
    from nordiq_watch.api.servers import Servers
    from nordiq_watch.cli.terminal import open_console, print_table
    from nordiq_watch.client.answers import read

    listed = read(found, Servers)
    rows = [
        (
            one.server_name,
            one.state,
            one.profile,
            one.last_seen,
            one.risk_score,
            ", ".join(f"{name}:{value}" for name, value in one.labels.items()),
            _describe_maintenance(one.maintenance),
        )
        for one in listed.servers
    ]
    headings = ("server", "state", "profile", "last seen (UTC)", "risk", "labels", "maintenance")
    noun = "server" if listed.matched == 1 else "servers"
    print_table(f"{listed.matched} {noun}", headings, rows, console=open_console())


def _show_groups(found: dict[str, Any]) -> None:
    from nordiq_watch.api.servers import Servers
    from nordiq_watch.cli.terminal import open_console, print_table
    from nordiq_watch.client.answers import read

    listed = read(found, Servers)
    rows = [
        (group.value, group.servers, *(group.states.get(state, 0) for state in ServerState), group.max_risk_score)
        for group in listed.groups or ()
    ]
    headings = ("group", "servers", *ServerState, "highest risk")
    print_table(f"{listed.matched} servers in {len(rows)} groups", headings, rows, console=open_console())


def _describe_maintenance(maintenance: Any) -> str:
    if maintenance is None:
        return ""
    until = "" if maintenance.until is None else f"until {maintenance.until}: "
    return f"{until}{maintenance.reason}"
