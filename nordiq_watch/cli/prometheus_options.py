"""The options that name a Prometheus, and the history that is fetched from it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.progress_lines import ProgressLines
from nordiq_watch.errors import ClientError

if TYPE_CHECKING:
    from nordiq_watch.config.settings import Settings
    from nordiq_watch.importing.prometheus_api import Source
    from nordiq_watch.importing.slot_table import SlotTable

TOKEN_VARIABLE, BASIC_VARIABLE = "PROMETHEUS_TOKEN", "PROMETHEUS_BASIC_AUTH"
DAYS = 14.0


def add_prometheus(parser: argparse.ArgumentParser) -> None:
    """`--prometheus` and what belongs to it."""
    group = parser.add_argument_group("history from Prometheus, VictoriaMetrics or Thanos")
    group.add_argument("--prometheus", metavar="URL", help="its address, with the path below which /api/v1 lies")
    group.add_argument("--days", type=_days, default=DAYS, metavar="N", help="how far back (default: 14)")
    group.add_argument(
        "--header", type=_header, action="append", default=[], metavar="NAME: VALUE", help="of each request, such as "
        "'X-Scope-OrgID: 7'; may be repeated",
    )  # fmt: skip
    group.add_argument("--token-file", type=Path, metavar="FILE", help=f"a bearer token; else {TOKEN_VARIABLE}")
    group.add_argument(
        "--basic-auth-file", type=Path, metavar="FILE", help=f"USER:PASSWORD of basic auth; else {BASIC_VARIABLE}"
    )
    group.add_argument("--cacert", type=Path, metavar="FILE", help="certificates of the authority to trust with https")


def source_of(args: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Source:
    """ClientError for a file that cannot be used."""
    from nordiq_watch.importing.prometheus_api import Source

    environ = os.environ if environ is None else environ
    headers = dict(args.header)
    token = _read(args.token_file) if args.token_file else environ.get(TOKEN_VARIABLE)
    basic = _read(args.basic_auth_file) if args.basic_auth_file else environ.get(BASIC_VARIABLE)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    user, colon, password = (basic or "").partition(":")
    if basic and not colon:
        raise ClientError(f"{args.basic_auth_file or BASIC_VARIABLE}: is not USER:PASSWORD")
    if args.cacert is not None and not args.cacert.is_file():
        raise ClientError(f"{args.cacert}: there is no such file")
    return Source(args.prometheus, headers, ca=args.cacert, basic=(user, password) if basic and not token else None)


@contextmanager
def fetched(args: argparse.Namespace, settings: Settings, *, keep: bool) -> Iterator[SlotTable]:
    """The history of the last days. What was fetched stays in `imports` of the state directory until the block ends
    well, or for the next time with `keep`. Raises ClientError, DatasetError, ConfigError and OSError.
    """
    from nordiq_watch.importing.prometheus import fetch_slots
    from nordiq_watch.importing.prometheus_api import PrometheusApi
    from nordiq_watch.importing.spool import remove_spool

    directory = spool_of(args.prometheus, settings)
    api = PrometheusApi(source_of(args))
    try:
        with _progress_bar(args.prometheus) as show:
            table = fetch_slots(
                api, settings.config, days=args.days, now=time.time(), directory=directory, progress=show
            )
    except ClientError as error:
        if not any(directory.glob("part-*")):
            remove_spool(directory)
            raise
        raise ClientError(f"{error}. What was fetched is kept; the same command goes on from there") from None
    finally:
        api.close()
    yield table
    if not keep:
        remove_spool(directory)


def spool_of(url: str, settings: Settings) -> Path:
    return settings.state_dir / "imports" / blake2b(url.encode(), digest_size=8).hexdigest()


@contextmanager
def _progress_bar(url: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, in a pipe a line now and then."""
    if not sys.stderr.isatty():
        yield ProgressLines(f"fetching from {url}", tell=lambda line: print(line, file=sys.stderr, flush=True)).show
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"fetching from {url}", total=1.0)
        yield lambda done: bar.update(task, completed=done)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= 3650:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days above 0 and up to 3650")
    return days


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text} is not NAME: VALUE")
    return name.strip(), value.strip()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ClientError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'no UTF-8'})") from None
