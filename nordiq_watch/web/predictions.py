"""`GET /predictions/…`: answers that are ready are handed out; nothing is computed here."""

from __future__ import annotations

from flask import Blueprint, Response, request

from nordiq_watch.errors import NotFound
from nordiq_watch.forecast.answer import Answer
from nordiq_watch.web.answers import Body
from nordiq_watch.web.services import services

routes = Blueprint("predictions", __name__, url_prefix="/predictions")


@routes.get("/current")
def show_fleet() -> Response:
    answer = services().board.peek()
    if request.accept_encodings.quality("gzip") > 0:
        return _hand_out(answer, answer.compressed, encoding="gzip")
    return _hand_out(answer, answer.body)


@routes.get("/<path:server>")
def show_server(server: str) -> Response | Body:
    """One server alone; 404 if nothing that it sent is in the window."""
    answer = services().board.peek()
    body = answer.for_server(server)
    if body is not None:
        return _hand_out(answer, body)
    if not services().window.tracks(server):
        raise NotFound(f"no server {server!r:.300} has sent data; its name must be exactly as in the feed")
    if answer.error is not None:
        return _hand_out(answer, answer.body)
    return {"error": "insufficient_data", "message": f"{server} has gone silent.", "predictions": {}}


def _hand_out(answer: Answer, body: bytes, *, encoding: str | None = None) -> Response:
    """The bytes, or 304 if the client has them. Every header is of the answer that is sent, not of what came since."""
    if request.if_none_match.contains_raw(answer.etag):
        response = Response(status=304)
    else:
        response = Response(body, mimetype="application/json")
        if encoding is not None:
            response.headers["Content-Encoding"] = encoding
    response.headers["ETag"] = answer.etag
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "private, no-cache"
    if answer.model is not None:
        response.headers["X-Model-Version"] = answer.model.name
        response.headers["X-Model-Generation"] = str(answer.model.generation)
    return response
