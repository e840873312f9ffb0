"""Sends answers: the app's, and those to requests that waitress refuses before the app sees them."""

from __future__ import annotations

import json
from typing import Any

from waitress.task import ErrorTask, WSGITask

from nordiq_watch.host.http.limits import MAX_HEADER_BYTES
from nordiq_watch.records.admission import BODY_LEFT_OUT

_IN_OWN_WORDS = {
    413: "the body is far above server.max_body_mb; send smaller batches",
    431: f"the URL and the headers together may have {MAX_HEADER_BYTES:,} bytes",
}


class JsonErrorTask(ErrorTask):  # type: ignore[misc]  # waitress ships no types
    """Answers requests that waitress itself refuses, in the format of all other errors."""

    def execute(self) -> None:
        error = self.request.error
        # Waitress logs the path when the client is gone, and a request that it could not read has none.
        self.request.path = getattr(self.request, "path", "what could not be read")
        body = json.dumps({"error": error.reason, "detail": _IN_OWN_WORDS.get(error.code, error.body)}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class AnswerTask(WSGITask):  # type: ignore[misc]  # waitress ships no types
    """Answers a request and sends the answer itself: waking the loop for that would cost two thread switches."""

    def finish(self) -> None:
        super().finish()
        self.channel.flush()

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        if self.request.left_out is not None:
            environ[BODY_LEFT_OUT] = self.request.left_out
        return environ

    def build_response_header(self) -> bytes:
        if self.request.leaves_rest:
            self.set_close_on_finish()
        header: bytes = super().build_response_header()
        return header

    def set_close_on_finish(self) -> None:
        """Ignores waitress' wish to close after a 304 or 204, which it mistakes for a body of unknown length."""
        asked = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked or self.request.leaves_rest:
            super().set_close_on_finish()
