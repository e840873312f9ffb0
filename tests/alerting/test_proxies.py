from __future__ import annotations

import pytest

from nordiq_watch.alerting.proxies import choose_proxy, is_private

PROXY, OTHER = "http://proxy.example:3128", "http://other.example:8080"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("http_proxy", PROXY)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("192.168.7.1", True),
        ("172.31.0.9", True),
        ("169.254.1.1", True),
        ("100.64.0.1", True),
        ("fd00::7", True),
        ("localhost", True),
        ("alertmanager", True),
        ("alerts.monitoring.svc.internal", True),
        ("alerts.lan", True),
        ("192.0.1.1", False),
        ("8.8.8.8", False),
        ("172.32.0.9", False),
        ("2606:4700::1111", False),
        ("receiver.invalid", False),
    ],
)
def test_which_receivers_are_in_a_private_network(host: str, private: bool) -> None:
    assert is_private(host) is private


@pytest.mark.parametrize(
    ("url", "setting", "chosen"),
    [
        ("http://10.0.0.7:9093/", None, None),
        ("http://10.0.0.7:9093/", "environment", PROXY),
        ("http://10.0.0.7:9093/", OTHER, OTHER),
        ("http://8.8.8.8/", None, PROXY),
        ("http://8.8.8.8/", "none", None),
        ("http://8.8.8.8/", OTHER, OTHER),
        ("https://8.8.8.8/", None, None),
    ],
)
def test_the_proxy_of_the_environment_is_for_public_receivers_unless_told(
    url: str, setting: str | None, chosen: str | None
) -> None:
    assert choose_proxy(url, setting) == chosen


def test_no_proxy_of_the_environment_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "8.8.8.8")
    assert choose_proxy("http://8.8.8.8/", None) is None
