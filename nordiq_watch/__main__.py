"""`python -m nordiq_watch COMMAND`, the same as the console script `nordiq-watch COMMAND`."""

from nordiq_watch.cli.main import run

run()
