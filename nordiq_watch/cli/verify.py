"""`nordiq-watch verify MODEL_DIR`: the checks that a version passes before it goes live, from a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command
from nordiq_watch.errors import ConfigError, ModelRejected

if TYPE_CHECKING:
    from nordiq_watch.config import Config
    from nordiq_watch.live.servable import Servable
    from nordiq_watch.records import Version

_EXAMPLE = """\
example:
  nordiq-watch verify models/tft_model_20250130_143000

Exit code 0: complete and loadable. 1: it is not, and the line says exactly why.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "verify", "say whether a model directory is complete and loadable", _EXAMPLE)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="also check that the daemon with these settings can serve it"
    )


def run(args: argparse.Namespace) -> int:
    """0 if every check passes. ModelRejected, naming the check, if one does not."""
    from nordiq_watch.config import load_settings

    version = look_at(args.model_dir)
    settings = load_settings(args.config) if args.config else None
    servable = prove(version, settings.config if settings else None)
    spec = servable.spec
    print(f"{version.name}: complete and loadable")
    print(f"  sha256    {servable.identity.sha256}")
    print(f"  forecasts {', '.join(spec.targets)}")
    print(f"  reads     {spec.max_encoder_length} slots of {spec.interval_seconds} s")
    print(f"  gives     {spec.max_prediction_length} slots, quantiles {', '.join(map(str, spec.quantiles))}")
    print(f"  servers   {len(servable.known_servers)} known")
    return 0


def look_at(path: Path) -> Version:
    from nordiq_watch.records import Version

    if not path.is_dir():
        raise ConfigError(f"{path} is not a directory. Name a model directory, such as models/tft_model_…")
    place = path.resolve()
    return Version(place.name, place, timestamp=None, fingerprint="", size_bytes=0, modified=0.0)


def prove(version: Version, config: Config | None) -> Servable:
    """Completeness, hashes, manifest, names and shapes, and a forecast of a made-up fleet."""
    from nordiq_watch.artifact.completeness import judge
    from nordiq_watch.artifact.signature import trust_in
    from nordiq_watch.config import CanaryLimits
    from nordiq_watch.reload.canary import Canary
    from nordiq_watch.reload.loader import Loader, Requirements, memory_errors
    from nordiq_watch.reload.probe import probe_snapshot

    verdict = judge(version.path)
    if not verdict.complete:
        found = f"it is not complete: {verdict.reason}"
        raise ModelRejected(version.name, check="layout", found=found, remedy="Write the directory again.")
    requirements = None
    if config is not None:
        requirements = Requirements(config.metrics, config.window.interval_seconds, config.window.length)
    loader = Loader(requirements, check_trust=trust_in(config.models.trusted_keys) if config else None)
    limits = config.reload.canary if config else CanaryLimits()
    with memory_errors(version.name):
        servable = loader.build(version, loader.read(version), generation=0)
        canary = Canary(limits, snapshot=lambda: probe_snapshot(servable.spec), latest=lambda: None)
        canary.check(servable, against=None)
    return servable
