"""`nordiq-watch verify MODEL_DIR`: runs the checks of a reload from a terminal."""

from __future__ import annotations

import argparse
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command

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
    from nordiq_watch.reload.proof import prove_version

    version = version_at(args.model_dir)
    settings = load_settings(args.config) if args.config else None
    servable = prove_version(version, settings.config if settings else None)
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
