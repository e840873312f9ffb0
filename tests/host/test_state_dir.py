from __future__ import annotations

from pathlib import Path

import pytest
from support.trouble import blocked

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.state_dir import StateLock
from nordiq_watch.parts import Parts


def test_a_directory_that_another_daemon_has_is_refused(tmp_path: Path) -> None:
    first = StateLock(tmp_path)
    with pytest.raises(ConfigError, match="is in use by another daemon"):
        StateLock(tmp_path)
    first.close()
    StateLock(tmp_path).close()


def test_where_no_lock_can_be_had_it_is_tried_again(tmp_path: Path) -> None:
    part = Parts().of("lock")
    with blocked(tmp_path / "state"):
        claim = StateLock(tmp_path / "state", part=part)
        claim.check()
        assert not part.works
    other = StateLock(tmp_path / "state")
    claim.check()
    assert part.status.reason is not None
    assert part.status.reason.startswith("another daemon uses state.dir")
    other.close()
    claim.check()
    assert part.works
    with pytest.raises(ConfigError):
        StateLock(tmp_path / "state")
    claim.close()
