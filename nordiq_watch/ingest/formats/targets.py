"""The host in the label of a scrape's target: `web1:9100`, `[2001:db8::1]:9100`, `http://web1:9100/metrics`."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from nordiq_watch.names import tidy_name

_URL = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/?#@]*@)?(?P<rest>[^/?#]*)(?:[/?#].*)?", re.DOTALL | re.IGNORECASE)
_BRACKETS = re.compile(r"\[(?P<host>[^\[\]]*)\](?::(?P<port>[0-9]{1,5}))?")
_PORT = re.compile(r"(?P<host>.*):(?P<port>[0-9]{1,5})(?:/.*)?", re.DOTALL)
_LAST_PORT = 65_535
_LOOPBACK_NAMES = re.compile(
    r"(.+\.)?localhost|localhost[46]?(\.localdomain[46]?)?|ip6-localhost|ip6-loopback"
    # the machine that a container runs on, as Docker, Docker Desktop and Podman call it on all of them
    r"|(host|gateway|kubernetes)\.docker\.internal|host\.containers\.internal|host-gateway",
    re.IGNORECASE,
)


_LOOSE_ADDRESS = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+)){0,3}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """host: without blanks around it, port and brackets, an IPv6 address in its short form; may be empty."""

    host: str
    port: str = ""

    @property
    def is_own_loopback(self) -> bool:
        """Whether every machine calls itself so: such a name tells no two servers apart."""
        if _LOOPBACK_NAMES.fullmatch(self.host):
            return True
        address = _read_address(self.host) or _read_loosely(self.host)
        return address is not None and (address.is_loopback or address.is_unspecified)


def read_target(label: str) -> Target:
    """The parts of a label. A name in no known form is the host as it is."""
    text = tidy_name(label)
    url = _URL.fullmatch(text)
    text = url["rest"] if url else text
    if _is_ipv6(text):
        return Target(_short(text))
    found = _BRACKETS.fullmatch(text) or _PORT.fullmatch(text)
    if found is None or int(found["port"] or 0) > _LAST_PORT:
        return Target(_short(text))
    return Target(_short(found["host"]), found["port"] or "")


def _short(host: str) -> str:
    """An address as it is written shortest; a name without the dot that ends a full one."""
    address = _read_address(host)
    return tidy_name(host.rstrip(".")) if address is None else str(address)


def _is_ipv6(text: str) -> bool:
    return text.count(":") > 1 and _read_address(text) is not None


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _read_loosely(text: str) -> ipaddress.IPv4Address | None:
    """The address that inet_aton(3) reads, and with it whatever connects: `127.1`, `0x7f.1`, `2130706433`.

    A short number alone, such as `10` or `0`, would be an address of the network 0.0.0.0/8, where no host is: there it
    is a host's own name.
    """
    if not _LOOSE_ADDRESS.fullmatch(text) or not text.isascii():
        return None
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return None
    return None if text.isdecimal() and int(address) < 1 << 24 else address
