"""`python -m nordiq_watch.training.starter`: makes the starter model that ships with the program."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from nordiq_watch.network.starter.artefact import write_starter
from nordiq_watch.training.starter.fitting import Effort, fit_starter

_COMMAND = "python -m nordiq_watch.training.starter"


def main() -> None:
    parser = argparse.ArgumentParser(prog=_COMMAND, description="Fits the starter model to synthetic series.")
    parser.add_argument("out", type=Path, metavar="DIR", help="where config.json and starter.safetensors are written")
    parser.add_argument("--seed", type=int, default=Effort().seed, help="default: %(default)s")
    options = parser.parse_args()
    starter = fit_starter(Effort(seed=options.seed), tell=partial(print, file=sys.stderr))
    config = write_starter(starter, options.out, made_by=f"{_COMMAND} --seed {options.seed}")
    sys.stdout.write(f"{options.out}: SHA-256 of the weights {config.sha256}\n")


main()
