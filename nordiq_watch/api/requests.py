"""The bodies of requests that one Struct decodes; feeds have readers of their own (docs/api.md)."""

from __future__ import annotations

from msgspec import Struct


class ReloadRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The optional body of `POST /admin/reload-model`."""

    model_path: str | None = None
