"""The loggers of the process, for tests that configure them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Puts the process-wide loggers back as they were."""
    loggers = [logging.getLogger(name) for name in (None, "nordiq_watch", "waitress.queue")]
    levels = [logger.level for logger in loggers]
    handlers = list(logging.getLogger().handlers)
    yield
    for handler in logging.getLogger().handlers[:]:
        if handler not in handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
