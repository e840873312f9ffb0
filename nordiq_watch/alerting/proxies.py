"""Whether a POST to the receiver of alerts goes through a proxy.

HTTP_PROXY and HTTPS_PROXY are set for a whole machine so that it reaches the internet; a receiver inside the house is
rarely reachable through them. So they hold for public receivers alone, unless `alerts.webhook.proxy` says otherwise.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

FROM_ENVIRONMENT, NO_PROXY = "environment", "none"
"""Values of `alerts.webhook.proxy` beside a URL: the environment's proxy for every receiver, or none at all."""

_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def choose_proxy(url: str, setting: str | None) -> str | None:
    """The proxy for this URL, None for none. setting: `alerts.webhook.proxy`."""
    if setting == NO_PROXY:
        return None
    if setting is not None and setting != FROM_ENVIRONMENT:
        return setting
    proxy = select_proxy(url, get_environ_proxies(url))  # respects NO_PROXY
    if proxy is None or (setting is None and is_private(urlsplit(url).hostname or "")):
        return None
    return proxy


def is_private(host: str) -> bool:
    """True for this machine and its own networks: by a private address, by a name that only they know, or by a name all
    of whose addresses are private.
    """
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    if "." not in host or host.endswith(_PRIVATE_DOMAINS):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # a name that only the proxy can resolve
    return all(not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)
