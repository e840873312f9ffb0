"""`GET /explain/SERVER`: why the live model says what it says of one server."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from nordiq_watch.api.queries import ExplainQuery
from nordiq_watch.web.routing import query_of
from nordiq_watch.web.seats import computed
from nordiq_watch.web.services import services

routes = Blueprint("explain", __name__, url_prefix="/explain")


@routes.get("/<path:server>")
@computed
def explain_server(server: str) -> Response:
    """`?target=METRIC` and `?step=K` choose the forecast; 503 with Retry-After while too many others are computed."""
    query = query_of(ExplainQuery)
    body, model = services().explanations.explain(server, target=query.target, step=query.step)
    response = jsonify(body)
    if model is not None:
        response.headers["X-Model-Version"] = model.name
        response.headers["X-Model-Generation"] = str(model.generation)
    return response
