"""Which `X-Forwarded-*` headers are believed."""

from __future__ import annotations

from typing import Any


def proxy_settings(trusted_proxy: str | None) -> dict[str, Any]:
    """Waitress drops X-Forwarded-* of all others, so that nobody can claim to come from elsewhere."""
    if trusted_proxy is None:
        return {"clear_untrusted_proxy_headers": True}
    return {
        "trusted_proxy": trusted_proxy,
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
        "clear_untrusted_proxy_headers": True,
    }
