"""The security room, put together: the keys in force, the rate limits and the audit."""

from __future__ import annotations

from dataclasses import dataclass

from nordiq_watch.config.settings import Settings
from nordiq_watch.parts import Parts
from nordiq_watch.security.audit import AuditLog
from nordiq_watch.security.keys import Keyring, ensure_keys
from nordiq_watch.security.rate_limits import RateLimits, limits_in_force


@dataclass(frozen=True, slots=True)
class SecurityParts:
    keyring: Keyring
    rate_limits: RateLimits
    audit: AuditLog


def build_security(settings: Settings, *, parts: Parts) -> SecurityParts:
    """Makes the first key where there is none. ConfigError as `ensure_keys` says."""
    limits = limits_in_force(settings.config.limits, other_machines=settings.other_machines)
    return SecurityParts(
        keyring=Keyring(ensure_keys(settings)),
        rate_limits=RateLimits(limits),
        audit=AuditLog(settings.audit_file, part=parts.of("audit")),
    )
