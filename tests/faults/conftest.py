"""One daemon that looks only when the file system says so, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.drop_site import SETTLE_SECONDS, Reader, Site, make_site


@pytest.fixture(scope="module", params=["inotify", "poll"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Looks when the file system says so, and never otherwise: a rescan would hide what was not seen."""
    watch = {"mode": request.param, "settle_seconds": SETTLE_SECONDS, "rescan_seconds": 3600}
    with make_site(tmp_path_factory.mktemp(request.param), watch=watch) as site:
        yield site


@pytest.fixture
def reader(site: Site) -> Iterator[Reader]:
    with Reader(site.daemon) as reader:
        yield reader
