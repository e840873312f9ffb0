"""The console's pages, sign-in and files. Pages are empty frames whose scripts fetch from the API."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.util
import logging
from pathlib import Path
from urllib.parse import quote

from flask import Blueprint, Response, g, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from nordiq_watch import __version__
from nordiq_watch.api.enums import Role
from nordiq_watch.api.servers import LONGEST_REASON
from nordiq_watch.errors import NotFound, Unauthorized
from nordiq_watch.web.access import is_allowed
from nordiq_watch.web.auth import require_own_origin
from nordiq_watch.web.console.files import send_file
from nordiq_watch.web.console.headers import protect
from nordiq_watch.web.console.tables import describe_tables
from nordiq_watch.web.console.words import WORDS
from nordiq_watch.web.services import services

log = logging.getLogger(__name__)

routes = Blueprint("console", __name__, template_folder="templates")

OPEN_ROUTES = ("/sign-in", "/console/<path:filename>")
"""Routes a browser needs before the sign-in: they reveal nothing about this daemon but its version."""

_HOME = "/"
_LONGEST_KEY = 1000
_YEAR_SECONDS = 365 * 24 * 3600
_CHARTS = "plotly"
"""The package that contains plotly.min.js; only that file is read, the package is never imported."""


@routes.context_processor
def _offer_to_templates() -> dict[str, object]:
    config = services().config
    holder = g.get("holder")
    return {
        "holder": holder,
        "may_act": holder is not None and is_allowed(holder, Role.ADMIN),
        "version": __version__,
        "interval_seconds": config.window.interval_seconds,
        "models_dir": config.models.dir,
        "charts_url": f"{request.script_root}/charts/{charts_version()}.js",
        "root": request.script_root,
        "tables": describe_tables(config),
    }


@routes.get("/")
def show_fleet() -> str:
    return render_template("fleet.html", page="fleet")


@routes.get("/servers/<path:server>")
def show_server(server: str) -> str:
    return render_template("server.html", page="fleet", server=server, longest_reason=LONGEST_REASON)


@routes.get("/models")
def show_models() -> str:
    return render_template("models.html", page="models")


@routes.get("/system")
def show_system() -> str:
    return render_template("system.html", page="system")


@routes.get("/glossary")
def show_glossary() -> str:
    return render_template("glossary.html", page="glossary", words=WORDS)


@routes.get("/charts/<version>.js")
def send_charts(version: str) -> Response:
    """The chart library, packed once; its address names its version, so that browsers keep it."""
    if version != charts_version():
        raise NotFound(f"the charts of version {version!r:.40} are not installed")
    response = Response(_pack_charts(), mimetype="text/javascript")
    response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = f"private, max-age={_YEAR_SECONDS}, immutable"
    return response


@routes.get("/console/<path:filename>", endpoint="static")
def send_console_file(filename: str) -> Response:
    return send_file(filename)


@routes.get("/sign-in")
def show_sign_in() -> str:
    return render_template("sign_in.html", error=None)


@routes.post("/sign-in")
def sign_in() -> AnyResponse:
    """Takes the API key in a form, never in a URL, and answers with a cookie that scripts cannot read."""
    require_own_origin()
    key = request.form.get("key", "").strip()[:_LONGEST_KEY]
    holder = services().security.keyring.identify(key) if key else None
    if holder is None:
        services().security.rate_limits.count_refused(request.remote_addr or "")
        if (more := services().wrong_key_lines.count()) is not None:
            log.warning("wrong API key from %s: sign-in to the console%s", request.remote_addr, more)
        return make_response(render_template("sign_in.html", error="This is not a key of this daemon."), 401)
    g.holder = holder  # the audit names who signed in
    if not is_allowed(holder, Role.READ):
        return make_response(render_template("sign_in.html", error="This key may send data and see nothing."), 403)
    response = redirect(request.script_root + _place_to_go(request.args.get("next", _HOME)), 303)
    response.set_cookie(
        services().sessions.cookie,
        services().sessions.open(key),
        httponly=True,
        samesite="Strict",
        secure=request.is_secure,
        path=request.script_root or "/",
    )
    return response


@routes.post("/sign-out")
def sign_out() -> AnyResponse:
    sessions = services().sessions
    sessions.close(request.cookies.get(sessions.cookie))
    response = make_response("", 204)
    response.delete_cookie(sessions.cookie, path=request.script_root or "/")
    return response


@routes.errorhandler(Unauthorized)
def _send_to_sign_in(_: Unauthorized) -> AnyResponse:
    """People who are not signed in are asked to; programs get the 401 of all other routes, which are not of here."""
    place = quote(request.full_path.rstrip("?"), safe="/")
    return redirect(f"{request.script_root}/sign-in?next={place}", 303)


@routes.after_request
def _protect(response: Response) -> Response:
    return protect(response)


def _place_to_go(text: str) -> str:
    """Where to go after the sign-in: a page of this daemon, whatever the link said."""
    inside = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if inside else _HOME


@functools.cache
def charts_version() -> str:
    return importlib.metadata.version(_CHARTS)


@functools.cache
def _pack_charts() -> bytes:
    spec = importlib.util.find_spec(_CHARTS)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(next(iter(spec.submodule_search_locations))) / "package_data" / "plotly.min.js"
    return gzip.compress(file.read_bytes(), mtime=0)
