"""The HTTP server: waitress on one socket, bound before it runs and stopped without losing an answer."""

from nordiq_watch.host.http.server import HttpServer
from nordiq_watch.host.http.tally import Tally

__all__ = ["HttpServer", "Tally"]
