"""`GET /explain/SERVER`: why the live model says what it says of one server."""

from __future__ import annotations

from flask import Blueprint, Response

from nordiq_watch.api.queries import ExplainQuery
from nordiq_watch.web.request_slots import computed
from nordiq_watch.web.routing import answer, name_model, query_of
from nordiq_watch.web.services import services

routes = Blueprint("explain", __name__, url_prefix="/explain")


@routes.get("/<path:server>")
@computed
def explain_server(server: str) -> Response:
    """`?target=METRIC` and `?step=K` choose the forecast; 503 with Retry-After while too many others are computed."""
    query = query_of(ExplainQuery)
    explanation, model = services().explanations.explain(server, target=query.target, step=query.step)
    return answer(explanation, headers=name_model(model))
