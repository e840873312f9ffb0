"""The admin endpoints from a terminal: models, info, reload, rollback, unpin, reloads."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command, add_connection
from nordiq_watch.errors import ClientError

if TYPE_CHECKING:
    from nordiq_watch.cli.client import Answer, Client, JsonObject

LOOK_AGAIN_SECONDS = 0.1
GOOD_OUTCOMES = ("loaded", "unchanged", "unpinned")

_JSON_HELP = "print the daemon's answer as it came, for scripts"
_FOLLOW_HELP = (
    "with --json: one line each time that the reload gets further. Without --json its stages are always shown"
)


@dataclass(frozen=True, slots=True)
class Command:
    """ask: the request behind the command. show: prints the answer, ClientError when it is a failure."""

    summary: str
    examples: str
    ask: Callable[[Client, argparse.Namespace], Answer]
    show: Callable[[Client, Answer], None]


def add_parser(subparsers: Subparsers) -> None:
    for name, command in COMMANDS.items():
        parser = add_command(subparsers, name, command.summary, command.examples)
        parser.add_argument("--json", action="store_true", help=_JSON_HELP)
        add_connection(parser)
        if command.show is _follow:
            parser.add_argument("--follow", action="store_true", help=_FOLLOW_HELP)
        if name == "reload":
            parser.add_argument("name", nargs="?", metavar="NAME", help="load this version and pin it; else the latest")
        if name == "reloads":
            parser.add_argument("id", nargs="?", type=int, metavar="ID", help="show this reload with its stages")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 when the daemon says that it failed. DaemonAway and DaemonRefused as the client raises them."""
    from nordiq_watch.cli.client import connect

    client = connect(args.url, key_file=args.key_file, config=args.config)
    command = COMMANDS[args.command]
    answer = command.ask(client, args)
    if args.json and getattr(args, "follow", False):
        return _follow_in_json(client, answer)
    if args.json:
        print(answer.text.strip())
        return 0 if answer.body.get("success", True) else 1
    command.show(client, answer)
    return 0


def _show_models(_: Client, answer: Answer) -> None:
    from nordiq_watch.cli.terminal import open_console, print_table

    headings = ("name", "state", "MB", "modified (UTC)", "epochs", "servers", "reason")
    rows = [
        (
            model["name"],
            model["state"],
            model["size_mb"],
            model["modified"],
            model["training"]["epochs"],
            model["training"]["servers_trained"],
            model.get("reason", ""),
        )
        for model in answer.body["models"]
    ]
    live = answer.body["current_model"] or "none"
    title = f"{answer.body['count']} versions in {answer.body['models_dir']}, live: {live}"
    print_table(title, headings, rows, console=open_console())


def _show_info(_: Client, answer: Answer) -> None:
    from nordiq_watch.cli.terminal import open_console, print_facts

    print_facts(answer.body, console=open_console())


def _show_reloads(client: Client, answer: Answer) -> None:
    from nordiq_watch.cli.terminal import open_console, print_table

    if "reloads" not in answer.body:
        return _show_reload(client, answer)
    headings = ("id", "created (UTC)", "trigger", "version", "outcome", "seconds", "reason")
    rows = [
        (
            reload["id"],
            reload["created_at"],
            reload["trigger"],
            reload["version"] or reload["requested"],
            reload["outcome"] or reload["state"],
            reload["seconds"],
            reload["reason"] or "",
        )
        for reload in answer.body["reloads"]
    ]
    print_table(f"{answer.body['count']} reloads, newest first", headings, rows, console=open_console())
    return None


def _show_reload(_: Client, answer: Answer) -> None:
    from nordiq_watch.cli.terminal import open_console, print_facts, print_table

    console = open_console()
    facts = dict(answer.body)
    stages = [(stage["name"], stage["seconds"]) for stage in facts.pop("stages")]
    print_facts(facts, console=console)
    print_table("stages", ("stage", "seconds"), stages, console=console)


def _follow(client: Client, answer: Answer) -> None:
    """Shows a reload's stages as they pass, and its outcome. ClientError when it did not succeed."""
    shown = 0
    for look in _looks(client, answer):
        reload = look.body
        for stage in reload["stages"][shown:]:
            print(f"  {stage['name']:<10} {stage['seconds']:8.3f} s", flush=True)
        shown = len(reload["stages"])
    if reload["outcome"] not in GOOD_OUTCOMES:
        raise ClientError(_describe_failure(reload))
    print(_describe_success(reload))


def _follow_in_json(client: Client, answer: Answer) -> int:
    """One line each time that the reload got further; the last is its end. 1 when it did not succeed."""
    told = ""
    for look in _looks(client, answer):
        if look.text != told:
            told = look.text
            print(told.strip(), flush=True)
    return 0 if look.body["outcome"] in GOOD_OUTCOMES else 1


def _looks(client: Client, answer: Answer) -> Iterator[Answer]:
    """The reload that `answer` tells of, again and again until it is over. ClientError when there is none."""
    if not answer.body.get("success"):
        raise ClientError(str(answer.body.get("reason") or answer.body.get("detail") or answer.body.get("error")))
    while True:
        look = client.reloads(answer.body["id"])
        yield look
        if look.body["state"] == "finished":
            return
        time.sleep(LOOK_AGAIN_SECONDS)


def _describe_success(reload: JsonObject) -> str:
    live = reload["current_model"] or "no model"
    if reload["outcome"] == "loaded":
        return f"{live} is live, {reload['seconds']:.3f} s after the reload began; before: {reload['previous_model']}"
    if reload["outcome"] == "unchanged":
        return f"{live} is live already"
    return f"unpinned: the newest version goes live by itself; now: {live}"


def _describe_failure(reload: JsonObject) -> str:
    live = reload["current_model"]
    after = f"{live} is still live" if live else "no model is live"
    reason = reload["reason"] or "no reason given"
    return f"reload {reload['id']} ended as {reload['outcome']}: {reason}; {after}"


COMMANDS = {
    "models": Command(
        summary="list the versions on disk: which is live, and why others cannot be",
        examples="examples:\n  nordiq-watch models\n  nordiq-watch models --json | jq -r .current_model",
        ask=lambda client, args: client.models(),
        show=_show_models,
    ),
    "info": Command(
        summary="show the live model: its version, generation, inputs and targets, and whether it is pinned",
        examples="examples:\n  nordiq-watch info\n  nordiq-watch info --url http://watch.example.net:8000",
        ask=lambda client, args: client.model_info(),
        show=_show_info,
    ),
    "reload": Command(
        summary="load the latest version and end a pin, or load NAME and pin it; shows the stages",
        examples="examples:\n  nordiq-watch reload\n  nordiq-watch reload tft_model_20250130_143000\n"
        "  nordiq-watch reload --follow --json | jq -c .stages\n\n"
        "Exit code 1 when the version could not be loaded; the one before it is then still live.",
        ask=lambda client, args: client.reload(args.name, wait=args.json and not args.follow),
        show=_follow,
    ),
    "rollback": Command(
        summary="go back to the version that was live before; the one left is not loaded again by itself",
        examples="examples:\n  nordiq-watch rollback",
        ask=lambda client, args: client.rollback(wait=args.json and not args.follow),
        show=_follow,
    ),
    "unpin": Command(
        summary="let the newest version go live by itself again",
        examples="examples:\n  nordiq-watch unpin",
        ask=lambda client, args: client.unpin(wait=args.json and not args.follow),
        show=_follow,
    ),
    "reloads": Command(
        summary="list what became of every reload, or show one with its stages",
        examples="examples:\n  nordiq-watch reloads\n  nordiq-watch reloads 7",
        ask=lambda client, args: client.reloads(args.id),
        show=_show_reloads,
    ),
}
