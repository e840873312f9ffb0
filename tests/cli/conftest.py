from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.stub_daemon import StubDaemon, serve


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NORDIQ_API_KEY", "NORDIQ_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stub() -> Iterator[StubDaemon]:
    """Something that answers like a daemon, as told by the test."""
    with serve(StubDaemon()) as daemon:
        yield daemon
