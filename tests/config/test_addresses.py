from __future__ import annotations

import pytest

from nordiq_watch.config.addresses import reachable_host, url_of


@pytest.mark.parametrize(
    ("host", "reachable", "url"),
    [
        ("0.0.0.0", "127.0.0.1", "http://127.0.0.1:80"),
        ("", "127.0.0.1", "http://127.0.0.1:80"),
        ("::", "::1", "http://[::1]:80"),
        ("fe80::1", "fe80::1", "http://[fe80::1]:80"),
        ("watch.example.net", "watch.example.net", "http://watch.example.net:80"),
    ],
)
def test_a_daemon_on_every_address_is_reached_on_loopback(host: str, reachable: str, url: str) -> None:
    assert (reachable_host(host), url_of(host, 80)) == (reachable, url)
