"""`evaluate` and `compare`: how good versions are on a recorded dataset."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.encodings import print_json
from nordiq_watch.cli.parsers import Subparsers, add_command, positive_seconds
from nordiq_watch.cli.reading import add_reading, forms_of
from nordiq_watch.errors import ConfigError, MissingPackage, ModelRejected, StorageError

if TYPE_CHECKING:
    from nordiq_watch.config.settings import Settings
    from nordiq_watch.evaluation.origins import Order
    from nordiq_watch.evaluation.report import Comparison, Evaluation
    from nordiq_watch.evaluation.scoring import Progress
    from nordiq_watch.live.servable import Servable

NO_LIVE = "none"

_ABOUT = """\
Forecasts are made every hour of the last days from what was known then, by the code that serves, and are held against
the measurements that follow. Measure versions on days that they were not trained on: the days of `train` are validation
only for the last fifth of its dataset.
"""

_EVALUATE = f"""\
{_ABOUT}
examples:
  nordiq-watch evaluate models/tft_model_20250131_143000 --dataset state/archive
  nordiq-watch evaluate models/tft_model_20250131_143000 --dataset data/ --days 7 --by profile --by hour --png week.png
  nordiq-watch evaluate models/tft_model_20250131_143000 --dataset data/ --json | jq .scores
"""

_COMPARE = f"""\
{_ABOUT}
examples:
  nordiq-watch compare models/tft_model_20250130_143000 models/tft_model_20250131_143000 --dataset data/ --days 7

Exit code 0, whichever is better. Of fewer than three days it shows the numbers, but calls no version better.
"""


def add_parser(subparsers: Subparsers) -> None:
    evaluating = add_command(subparsers, "evaluate", "say how good a version is on a dataset", _EVALUATE)
    evaluating.add_argument("model_dir", type=Path, metavar="DIR", help="a model directory")
    _add_options(evaluating)
    evaluating.add_argument(
        "--live",
        metavar="DIR",
        help=f"the version to show beside it, or `{NO_LIVE}` (default: the one that a daemon would have live)",
    )
    evaluating.add_argument(
        "--by", action="append", choices=("profile", "hour"), default=[], help="tables by this, too; may be repeated"
    )
    comparing = add_command(subparsers, "compare", "say which of two versions is better on a dataset", _COMPARE)
    comparing.add_argument("a", type=Path, metavar="A", help="a model directory")
    comparing.add_argument("b", type=Path, metavar="B", help="another one")
    _add_options(comparing)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="directory of samples")
    parser.add_argument(
        "--days", type=_positive_days, default=3.0, metavar="N", help="the last days of it (default: %(default)g)"
    )
    parser.add_argument(
        "--every",
        type=positive_seconds,
        default=3600.0,
        metavar="S",
        help="seconds between two forecasts (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON, for scripts")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw it, too (needs the extra `plot`)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings; else ./config.yaml, if there is one")
    add_reading(parser)


def run(args: argparse.Namespace) -> int:
    """0 once the report is printed. Raises ModelRejected, DatasetError, ConfigError, MissingPackage and OSError."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads of torch would slow a daemon on this machine
    from nordiq_watch.config.load import find_settings

    try:
        from nordiq_watch.evaluation import picture
        from nordiq_watch.evaluation.origins import Order
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error

    settings = find_settings(args.config)
    if args.png is not None:
        picture.check_plotting()
        _check_place(args.png)
    config = settings.config
    horizons, aggregates = config.quality.horizons_seconds, config.window.aggregate
    order = Order(args.dataset, args.days, args.every, horizons, aggregates, forms_of(args))
    report = (_evaluate if args.command == "evaluate" else _compare)(args, settings, order)
    _print(report, args)
    if args.png is not None:
        picture.draw(report, args.png)
    return 0


def _evaluate(args: argparse.Namespace, settings: Settings, order: Order) -> Evaluation:
    from nordiq_watch.evaluation.evaluator import evaluate

    model = _load(args.model_dir, settings)
    live = _find_live(args.live, settings, beside=model)
    with _progress() as progress:
        return evaluate(model, order, live=live, progress=progress)


def _compare(args: argparse.Namespace, settings: Settings, order: Order) -> Comparison:
    from nordiq_watch.evaluation.evaluator import compare

    a, b = (_load(path, settings) for path in (args.a, args.b))
    with _progress() as progress:
        return compare(a, b, order, progress=progress)


def _load(path: Path, settings: Settings) -> Servable:
    from nordiq_watch.network.predictor import resolve_device
    from nordiq_watch.reload.named_version import load_version, version_at

    device = resolve_device(settings.config.device)
    servable = load_version(version_at(path))
    return servable if device == "cpu" else servable.on(device)


def _find_live(named: str | None, settings: Settings, *, beside: Servable) -> Servable | None:
    """The version to show beside the evaluated one. What only happens to be live and cannot be loaded is left out."""
    if named is not None:
        return None if named == NO_LIVE else _load(Path(named), settings)
    from nordiq_watch.evaluation.live_version import find_live

    try:
        version = find_live(settings)
        if version is None or version.path.resolve() == beside.version.path:
            return None
        return _load(version.path, settings)
    except (ModelRejected, StorageError, ConfigError) as error:
        print(f"no live version beside it: {error}", file=sys.stderr)
        return None


def _print(report: Evaluation | Comparison, args: argparse.Namespace) -> None:
    import msgspec

    from nordiq_watch.cli.evaluation_tables import print_comparison, print_evaluation
    from nordiq_watch.cli.terminal import open_console
    from nordiq_watch.evaluation.report import Evaluation

    if args.json:
        print_json(msgspec.json.format(msgspec.json.encode(report)).decode())
    elif isinstance(report, Evaluation):
        print_evaluation(report, by=args.by, console=open_console())
    else:
        print_comparison(report, console=open_console())


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("forecasting")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check_place(path: Path) -> None:
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: no picture can be written there. Name a file in a directory that exists.")


def _positive_days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of days above 0")
    return days
