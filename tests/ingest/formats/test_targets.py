from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.ingest.formats.targets import Target, read_target
from nordiq_watch.names import tidy_name


@pytest.mark.parametrize(
    ("label", "host", "port"),
    [
        ("web1", "web1", ""),
        ("web1:9100", "web1", "9100"),
        (" web1 :9100\u00a0", "web1", "9100"),
        ("web1.example.net.:9100", "web1.example.net", "9100"),
        ("web1.", "web1", ""),
        ("http://web1:9100/metrics", "web1", "9100"),
        ("HTTPS://scraper:secret@web1.example.net/probe?target=db1:5432#top", "web1.example.net", ""),
        ("http://[2001:db8::1]:9100/metrics", "2001:db8::1", "9100"),
        ("http://2001:db8::1/", "2001:db8::1", ""),
        ("web1:9100/metrics", "web1", "9100"),
        ("[2001:db8::1]:9100", "2001:db8::1", "9100"),
        ("[2001:DB8:0:0::1]", "2001:db8::1", ""),
        ("2001:db8::1", "2001:db8::1", ""),
        ("2001:db8::9100", "2001:db8::9100", ""),
        ("[fe80::1%eth0]:9100", "fe80::1%eth0", "9100"),
        ("::ffff:192.0.2.7", "192.0.2.7", ""),
        ("192.0.2.7:9100", "192.0.2.7", "9100"),
        ("rack 1/web1", "rack 1/web1", ""),
        ("vm:100234", "vm:100234", ""),
        ("pod:api:8080", "pod:api", "8080"),
        ("[web1]:9100", "web1", "9100"),
        ("[broken:9100", "[broken", "9100"),
        ("WEB1:9100", "WEB1", "9100"),
        ("e\u0301:9100", "\u00e9", "9100"),
        (":9100", "", "9100"),
        ("http://:9100/metrics", "", "9100"),
        ("", "", ""),
        ("...", "", ""),
    ],
)
def test_what_is_left_of_a_target_is_the_host(label: str, host: str, port: str) -> None:
    assert read_target(label) == Target(host, port)


@pytest.mark.parametrize(
    "label",
    ["host.docker.internal:9100", "http://Gateway.docker.internal/metrics", "host.containers.internal",
     "localhost", "LocalHost:9100", "localhost.localdomain:9100", "localhost4", "web.localhost", "ip6-localhost",
     "127.0.0.1:9100", "127.7.7.7", "::1", "[::1]:9100", "[::ffff:127.0.0.1]:9100", "0.0.0.0:9100", "[::]:9100",
     "http://localhost:9100/metrics", "localhost.", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:0:0:1",
     "127.1:9100", "127.1", "127.0.1", "2130706433", "2130706433:9100", "0x7f.1", "0X7F000001", "0177.0.0.1",
     "017700000001", "http://127.1/metrics", "0x0", "0.0:9100", "127.000.000.001"],
)  # fmt: skip
def test_loopback_has_many_spellings(label: str) -> None:
    assert read_target(label).is_own_loopback


@pytest.mark.parametrize(
    "label",
    ["localhost1", "mylocalhost", "128.0.0.1", "::2", "local", "127.0.0.1.example.net", "10", "0", "127", "1:9100",
     "010", "10.1", "192.168.1", "0x7g.1", "127.1 a", "3232235777", "127.1-db", "\u0661\u0662\u0667.1", "127.0.0.256",
     "127.1.1.1.1"],
)  # fmt: skip
def test_what_only_looks_like_loopback_is_a_server(label: str) -> None:
    assert not read_target(label).is_own_loopback


@given(st.text(st.sampled_from("ab.:[]/@%0129 \u0301\u00e9-"), max_size=20) | st.text(max_size=30))
def test_the_host_of_a_host_is_itself_unless_it_looks_like_a_target_again(text: str) -> None:
    host = read_target(text).host
    assert host == tidy_name(host)


@given(st.ip_addresses(v=6), st.integers(1, 65_535))
def test_an_address_is_one_server_with_and_without_port(address: object, port: int) -> None:
    assert read_target(f"[{address}]:{port}").host == read_target(f"{address}").host
