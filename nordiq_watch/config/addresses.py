"""From where the daemon listens to where it is reached."""

from __future__ import annotations

_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def reachable_host(host: str) -> str:
    """The host to connect to from this machine; loopback where the daemon listens on every address."""
    return _LOOPBACK_OF.get(host, host)


def url_of(host: str, port: int) -> str:
    """The URL of a daemon that listens on this host and port, for clients on its own machine."""
    reachable = reachable_host(host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
