from __future__ import annotations

from pathlib import Path

import pytest
from support.trouble import blocked

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.state_dir import StateClaim
from nordiq_watch.parts import Parts


def test_a_directory_that_another_daemon_has_is_refused(tmp_path: Path) -> None:
    first = StateClaim(tmp_path)
    with pytest.raises(ConfigError, match="is in use by another daemon"):
        StateClaim(tmp_path)
    first.close()
    StateClaim(tmp_path).close()


def test_where_no_lock_can_be_had_it_is_tried_again(tmp_path: Path) -> None:
    part = Parts().of("lock")
    with blocked(tmp_path / "state"):
        claim = StateClaim(tmp_path / "state", part=part)
        claim.check()
        assert not part.works
    other = StateClaim(tmp_path / "state")
    claim.check()
    assert part.status.reason is not None and part.status.reason.startswith("another daemon uses state.dir")
    other.close()
    claim.check()
    assert part.works
    with pytest.raises(ConfigError):
        StateClaim(tmp_path / "state")
    claim.close()
