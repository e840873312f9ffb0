"""`nordiq-watch verify MODEL_DIR`: runs the checks of a reload from a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command

if TYPE_CHECKING:
    from nordiq_watch.config.schema import Config
    from nordiq_watch.live.servable import Servable
    from nordiq_watch.records.models import Version

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
    """0 if every check passes. Raises ModelRejected, with the check's name, if one fails."""
    from nordiq_watch.artifact.comparison import describe_errors
    from nordiq_watch.config.load import load_settings
    from nordiq_watch.network.derived_inputs import reads_back
    from nordiq_watch.reload.named_version import version_at

    version = version_at(args.model_dir)
    settings = load_settings(args.config) if args.config else None
    servable = prove(version, settings.config if settings else None)
    spec = servable.spec
    print(f"{version.name}: complete and loadable")
    print(f"  sha256    {servable.identity.sha256}")
    if spec.extras is not None:
        print(f"  extras    {servable.identity.extras_sha256}: {', '.join(servable.predictor.members)}")
    print(f"  forecasts {', '.join(spec.targets)}")
    print(f"  reads     {reads_back(spec)} slots of {spec.interval_seconds} s")
    print(f"  gives     {spec.max_prediction_length} slots, quantiles {', '.join(map(str, spec.quantiles))}")
    print(f"  servers   {len(servable.known_servers)} known")
    errors = describe_errors(servable.training)
    if errors:
        print(f"  errors    in validation {errors}")
    return 0


def prove(version: Version, config: Config | None) -> Servable:
    """Checks completeness, hashes, manifest, names and shapes, and forecasts a synthetic fleet."""
    from nordiq_watch.artifact.signature import trust_in
    from nordiq_watch.config.schema import CanarySettings
    from nordiq_watch.reload.canary import Canary
    from nordiq_watch.reload.loader import Requirements, memory_errors
    from nordiq_watch.reload.named_version import load_version
    from nordiq_watch.reload.synthetic_window import synthetic_window

    requirements = None
    if config is not None:
        requirements = Requirements(config.metrics, config.window.interval_seconds, config.window.length)
    check_trust = trust_in(config.models.trusted_keys) if config else None
    servable = load_version(version, requirements=requirements, check_trust=check_trust)
    limits = config.reload.canary if config else CanarySettings()
    with memory_errors(version.name):
        canary = Canary(limits, snapshot=lambda: synthetic_window(servable.spec), latest=lambda: None)
        canary.check(servable, against=None)
    return servable
