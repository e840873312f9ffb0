from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.alerting.request_headers import check_headers, read_headers
from nordiq_watch.errors import ConfigError

SECRET = "s3cret\x07"


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ({"X Tenant": "a"}, "'X Tenant' is no name of an HTTP header"),
        ({"": "a"}, "'' is no name of an HTTP header"),
        ({"X-Tenant\r\nX": "a"}, "is no name of an HTTP header"),
        ({"content-length": "3"}, "content-length is set by nordiq-watch itself"),
        ({"X-Token": SECRET}, "the value of X-Token is empty or has characters"),
        ({"X-Token": "a\r\nX-Other: b"}, "the value of X-Token is empty or has characters"),
        ({"X-Token": ""}, "the value of X-Token is empty or has characters"),
    ],
)
def test_a_header_that_cannot_be_sent_is_named_without_its_value(headers: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_headers(headers, where="alerts.webhook.headers")
    assert str(refused.value).startswith("alerts.webhook.headers: ")
    assert fault in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_file_of_headers(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("# the tenant\nX-Scope-OrgID: fleet one\n\n  Authorization:Bearer a:b  \r\n")
    assert read_headers(file) == {"X-Scope-OrgID": "fleet one", "Authorization": "Bearer a:b"}


def test_a_file_of_headers_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_bytes(b"\xef\xbb\xbfX-Scope-OrgID: one\r\n")
    assert read_headers(file) == {"X-Scope-OrgID": "one"}


def test_a_line_that_is_no_header_is_named_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("X-Scope-OrgID: one\ntoken-without-a-name\n")
    with pytest.raises(ConfigError, match=r"headers, line 2: there is no colon; write `Name: value`$"):
        read_headers(file)


def test_a_file_that_is_away_or_is_another_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"headers_file: .*/gone cannot be read \(No such file"):
        read_headers(tmp_path / "gone")
    (tmp_path / "large").write_bytes(b"a" * 65_537)
    with pytest.raises(ConfigError, match="more than 65536 bytes"):
        read_headers(tmp_path / "large")
