"""Decides which `X-Forwarded-*` headers are trusted."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

_SINGLE = ("X_FORWARDED_PROTO", "X_FORWARDED_HOST", "X_FORWARDED_PORT")


def proxy_settings(trusted_proxy: str | None) -> dict[str, Any]:
    """Waitress drops X-Forwarded-* from all other senders, so that none can fake its address."""
    if trusted_proxy is None:
        return {"clear_untrusted_proxy_headers": True}
    return {
        "trusted_proxy": trusted_proxy,
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
        "clear_untrusted_proxy_headers": True,
    }


def keep_last_value(headers: MutableMapping[str, str]) -> None:
    """Of headers that should have one value, the last: several proxies in a row each add theirs, as `https, http`, and
    only the last comes from the one that is trusted. Waitress would refuse every request with two.

    headers: names as waitress writes them.
    """
    for name in _SINGLE:
        if "," in headers.get(name, ""):
            headers[name] = headers[name].rpartition(",")[2].strip()
