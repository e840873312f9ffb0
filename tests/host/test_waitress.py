"""The parts of waitress that host/http uses without being promised them (docs/decisions/0015)."""

from __future__ import annotations

import inspect

import pytest
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask


@pytest.mark.parametrize(
    "name", ["received", "readable", "writable", "_flush_some", "_flush_exception", "handle_close"]
)
def test_a_channel_still_has(name: str) -> None:
    assert callable(getattr(HTTPChannel, name))


@pytest.mark.parametrize("name", ["outbuf_lock", "total_outbufs_len", "requests", "will_close", "outbufs", "connected"])
def test_a_channel_still_keeps(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(HTTPChannel)


def test_a_channel_still_has_the_request_that_is_half_read() -> None:
    assert HTTPChannel.request is None


@pytest.mark.parametrize("name", ["active_channels", "task_dispatcher", "trigger"])
def test_a_server_still_keeps(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(TcpWSGIServer.__mro__[1])


def test_the_other_parts_are_there() -> None:
    assert callable(wasyncore.poll2)
    assert callable(HTTPRequestParser.received)
    assert callable(WSGITask.execute)
    assert callable(ErrorTask.execute)
