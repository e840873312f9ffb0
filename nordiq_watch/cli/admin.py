"""The admin endpoints from a terminal: models, info, reload, rollback, unpin, reloads."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, assert_never

from nordiq_watch.api.enums import ReloadOutcome
from nordiq_watch.cli.encodings import print_json
from nordiq_watch.cli.parsers import Subparsers, add_command, add_connection

if TYPE_CHECKING:
    from nordiq_watch.api.models import Comparison
    from nordiq_watch.client.answers import Reload
    from nordiq_watch.client.client import Client
    from nordiq_watch.client.http import Answer, Http

_JSON_HELP = "print the daemon's answer as it came, for scripts"
_FOLLOW_HELP = (
    "with --json: one line each time that the reload gets further. Without --json its stages are always shown"
)


@dataclass(frozen=True, slots=True)
class Command:
    """ask: the request behind the command, whose answer `--json` prints. show: prints it for people."""

    summary: str
    examples: str
    ask: Callable[[Http, argparse.Namespace], Answer]
    show: Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Order:
    """A command that changes which model is live. ask: as of a Command; `wait` until the reload is over."""

    summary: str
    examples: str
    ask: Callable[[Http, argparse.Namespace, bool], Answer]


def add_parser(subparsers: Subparsers) -> None:
    for name, command in COMMANDS.items():
        parser = add_command(subparsers, name, command.summary, command.examples)
        parser.add_argument("--json", action="store_true", help=_JSON_HELP)
        add_connection(parser)
        if isinstance(command, Order):
            parser.add_argument("--follow", action="store_true", help=_FOLLOW_HELP)
        if name == "reload":
            parser.add_argument("name", nargs="?", metavar="NAME", help="load this version and pin it; else the latest")
        if name == "reloads":
            parser.add_argument("id", nargs="?", type=int, metavar="ID", help="show this reload with its stages")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 when the daemon says that it failed. DaemonAway and DaemonRefused as the client raises them."""
    from nordiq_watch.cli.connection import connect

    client = connect(args.url, key_file=args.key_file, config=args.config)
    command = COMMANDS[args.command]
    if isinstance(command, Order):
        return _carry_out(command, client, args)
    answer = command.ask(client.http, args)
    if args.json:
        print_json(answer.text.strip())
    else:
        command.show(answer)
    return 0


def _carry_out(order: Order, client: Client, args: argparse.Namespace) -> int:
    """With `--json` alone the answer is awaited; else the reload is followed. ReloadFailed when it failed."""
    from nordiq_watch.client.client import read_id

    if args.json and not args.follow:
        answer = order.ask(client.http, args, True)
        print_json(answer.text.strip())
        return 0 if answer.body.get("success", True) else 1
    reload_id = read_id(order.ask(client.http, args, False))
    if args.json:
        return _follow_in_json(client, reload_id)
    print(_describe_success(client.wait_for_reload(reload_id, seconds=inf, progress=_StagePrinter().show)))
    return 0


def _show_models(answer: Answer) -> None:
    from nordiq_watch.api.models import Models
    from nordiq_watch.cli.terminal import open_console, print_table
    from nordiq_watch.client.answers import read

    found = read(answer.body, Models)
    headings = ("name", "state", "MB", "modified (UTC)", "epochs", "servers", "vs. last value", "vs. newest", "reason")
    rows = [
        (
            model.name,
            model.state,
            model.size_mb,
            model.modified,
            model.training.epochs,
            model.training.servers_trained,
            *_describe_errors(model.training.comparison),
            model.reason or "",
        )
        for model in found.models
    ]
    title = f"{found.count} versions in {found.models_dir}, live: {found.current_model or 'none'}"
    console = open_console()
    print_table(title, headings, rows, console=console)
    for entry in found.ignored:
        console.print(f"ignored: {entry.name}: {entry.reason}", markup=False, highlight=False, soft_wrap=True)


def _describe_errors(comparison: Comparison | None) -> tuple[str, str]:
    """A version's errors in validation beside last value's and beside the newest version's of its time."""
    from nordiq_watch.cli.terminal import relative

    if comparison is None:
        return relative(None), relative(None)
    return relative(comparison.beside_last_value), relative(comparison.beside_newest)


def _show_info(answer: Answer) -> None:
    """Of the training, without the errors of each metric."""
    from nordiq_watch.api.models import Training
    from nordiq_watch.cli.terminal import open_console, print_facts
    from nordiq_watch.client.answers import read

    facts = dict(answer.body)
    if "training" in facts:
        training = read(facts["training"], Training)
        last_value, newest = _describe_errors(training.comparison)
        facts["training"] = {
            "epochs": training.epochs,
            "training_time": training.training_time,
            "servers_trained": training.servers_trained,
            "vs. last value": last_value,
            "vs. newest": newest,
        }
    print_facts(facts, console=open_console())


def _show_reloads(answer: Answer) -> None:
    from nordiq_watch.api.reloads import Reloads
    from nordiq_watch.cli.terminal import open_console, print_table
    from nordiq_watch.client.answers import read

    if "reloads" not in answer.body:
        return _show_reload(answer)
    found = read(answer.body, Reloads)
    headings = ("id", "created (UTC)", "trigger", "version", "outcome", "seconds", "reason")
    rows = [
        (
            reload.id,
            reload.created_at,
            reload.trigger,
            reload.version or reload.requested,
            reload.outcome or reload.state,
            reload.seconds,
            reload.reason or "",
        )
        for reload in found.reloads
    ]
    print_table(f"{found.count} reloads, newest first", headings, rows, console=open_console())
    return None


def _show_reload(answer: Answer) -> None:
    from nordiq_watch.cli.terminal import open_console, print_facts, print_table

    console = open_console()
    facts = dict(answer.body)
    stages = [(stage["name"], stage["seconds"]) for stage in facts.pop("stages")]
    print_facts(facts, console=console)
    print_table("stages", ("stage", "seconds"), stages, console=console)


class _StagePrinter:
    """Prints the stages of one reload as they pass, each once."""

    def __init__(self) -> None:
        self._shown = 0

    def show(self, reload: Reload) -> None:
        for stage in reload.stages[self._shown :]:
            print(f"  {stage.name:<10} {stage.seconds:8.3f} s", flush=True)
        self._shown = len(reload.stages)


def _follow_in_json(client: Client, reload_id: int) -> int:
    """Prints one line each time the reload progresses; the last line is its end. 1 when it failed."""
    from nordiq_watch.api.reloads import Reload
    from nordiq_watch.client.answers import read

    told = ""
    for look in client.follow_reload(reload_id, seconds=inf):
        if look.text != told:
            told = look.text
            print_json(told.strip())
    outcome = read(look.body, Reload).outcome
    return 0 if outcome is not None and outcome.is_success else 1


def _describe_success(reload: Reload) -> str:
    live = reload.current_model or "no model"
    match reload.outcome:
        case ReloadOutcome.LOADED:
            return f"{live} is live, {reload.seconds:.3f} s after the reload began; before: {reload.previous_model}"
        case ReloadOutcome.UNCHANGED:
            return f"{live} is live already"
        case ReloadOutcome.UNPINNED:
            return f"unpinned: the newest version goes live by itself; now: {live}"
        case ReloadOutcome.NOT_FOUND | ReloadOutcome.REJECTED | None:
            raise AssertionError("a reload that failed is no success")  # wait_for_reload raises ReloadFailed
        case _ as never:
            assert_never(never)


COMMANDS: dict[str, Command | Order] = {
    "models": Command(
        summary="list the versions on disk: which is live, and why others cannot be",
        examples="examples:\n  nordiq-watch models\n  nordiq-watch models --json | jq -r .current_model",
        ask=lambda http, args: http.get("/admin/models"),
        show=_show_models,
    ),
    "info": Command(
        summary="show the live model: its version, generation, inputs and targets, and whether it is pinned",
        examples="examples:\n  nordiq-watch info\n  nordiq-watch info --url http://watch.example.net:8000",
        ask=lambda http, args: http.get("/admin/model-info"),
        show=_show_info,
    ),
    "reload": Order(
        summary="load the latest version and end a pin, or load NAME and pin it; shows the stages",
        examples="examples:\n  nordiq-watch reload\n  nordiq-watch reload tft_model_20250130_143000\n"
        "  nordiq-watch reload --follow --json | jq -c .stages\n\n"
        "Exit code 1 when the version could not be loaded; the one before it is then still live.",
        ask=lambda http, args, wait: http.order(
            "/admin/reload-model", {"model_path": args.name} if args.name else {}, wait=wait
        ),
    ),
    "rollback": Order(
        summary="go back to the version that was live before; the one left is not loaded again by itself",
        examples="examples:\n  nordiq-watch rollback",
        ask=lambda http, args, wait: http.order("/admin/rollback", {}, wait=wait),
    ),
    "unpin": Order(
        summary="let the newest version go live by itself again",
        examples="examples:\n  nordiq-watch unpin",
        ask=lambda http, args, wait: http.order("/admin/unpin", {}, wait=wait),
    ),
    "reloads": Command(
        summary="list what became of every reload, or show one with its stages",
        examples="examples:\n  nordiq-watch reloads\n  nordiq-watch reloads 7",
        ask=lambda http, args: http.get("/admin/reloads" if args.id is None else f"/admin/reloads/{args.id}"),
        show=_show_reloads,
    ),
}
