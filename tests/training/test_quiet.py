from __future__ import annotations

import logging
import warnings

import pytest

from nordiq_watch.training.quiet import quiet_libraries


def test_within_it_nobody_speaks_and_after_it_everybody_may_again(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lightning.pytorch")
    before = log.level
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("a library", stacklevel=1)
            log.warning("a banner")
            log.error("a failure")
        warnings.warn("somebody else", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["somebody else"]
    assert [record.message for record in caplog.records] == ["a failure"]
    assert log.level == before
