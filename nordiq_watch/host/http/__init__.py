"""The HTTP server: waitress on one socket, bound before it runs and stopped without losing an answer."""

from nordiq_watch.host.http.counts import ConnectionCounts
from nordiq_watch.host.http.server import HttpServer

__all__ = ["ConnectionCounts", "HttpServer"]
