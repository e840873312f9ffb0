"""Logging to logs/inference_daemon.log, rotated, and to stderr: one readable line per event."""

from __future__ import annotations

import errno
import json
import logging
import sys
import time
from collections.abc import Mapping

from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.host.log_file import LogFile
from nordiq_watch.parts import Part

_PACKAGE = "nordiq_watch"
_MEGABYTE = 1_000_000
_FACTS = ("drop", "reload", "version")  # what ties the lines about one model together
_FILE_HANDLER = "nordiq-file"
_STDERR_HANDLER = "nordiq-stderr"

_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE)
"""Temporary failures of a disk; anything else is a mistake in the settings."""

_QUIETER: Mapping[str, int] = {
    # It warns once for every request that waits for a thread: under load, more lines than requests answered.
    "waitress.queue": logging.ERROR,
}

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class EventFormatter(logging.Formatter):
    """`2025-01-30T14:35:22.120Z INFO    reload.worker: message`, in UTC.

    Control characters of a message are escaped, so that client input cannot start a line of its own.
    """

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname:<7} {message}", style="{")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        event = record.message.translate(_CONTROLS)
        record.message = f"{record.name.removeprefix(_PACKAGE + '.')}: {event}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger and event; `drop`, `reload` and `version` where applicable."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name.removeprefix(_PACKAGE + "."),
            "event": record.getMessage(),
        }
        event |= {name: vars(record)[name] for name in _FACTS if name in vars(record)}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


def configure_logging(settings: Settings, *, must_open: bool = True) -> None:
    """Sends this package's events from `logs.level` on, and other packages' warnings, to the log file and to stderr.

    May be called again with other settings. Raises ConfigError if the file cannot be written. must_open=False: not for
    temporary causes such as a full disk; then every line tries the file again, and stderr has them all.
    """
    root = logging.getLogger()
    as_json = settings.config.logs.format == "json"
    file, known = _open_log(settings, must_open=must_open), find_log_file()
    if known is not None:
        file.tell(known.part)
    _install(root, _FILE_HANDLER, file, as_json=as_json)
    _install(root, _STDERR_HANDLER, logging.StreamHandler(sys.stderr), as_json=as_json)
    root.setLevel(logging.WARNING)
    logging.getLogger(_PACKAGE).setLevel(settings.config.logs.level)
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(level)


def find_log_file() -> LogFile | None:
    """The file currently logged to."""
    return next((handler for handler in logging.getLogger().handlers if isinstance(handler, LogFile)), None)


def tell_log_part(part: Part) -> None:
    """Sets the part that reports whether the log file works."""
    file = find_log_file()
    if file is not None:
        file.tell(part)


def check_log() -> None:
    """Tries the log file again if it failed."""
    file = find_log_file()
    if file is not None:
        file.check()


def _open_log(settings: Settings, *, must_open: bool) -> LogFile:
    logs, file = settings.config.logs, settings.log_file
    handler = LogFile(file, max_bytes=int(logs.max_mb * _MEGABYTE), keep=logs.keep)
    try:
        handler.open_now()
        return handler
    except OSError as error:
        if not must_open and error.errno in _PASSING:
            return handler
        raise ConfigError(
            f"logs.dir is {logs.dir!r}, but {file} cannot be written ({error.strerror}). "
            "Name a directory that this user may write to."
        ) from None


def _install(logger: logging.Logger, name: str, handler: logging.Handler, *, as_json: bool) -> None:
    """Adds the handler, replacing the one an earlier call added under this name."""
    for earlier in [known for known in logger.handlers if known.get_name() == name]:
        logger.removeHandler(earlier)
        earlier.close()
    handler.set_name(name)
    handler.setFormatter(JsonFormatter() if as_json else EventFormatter())
    logger.addHandler(handler)
