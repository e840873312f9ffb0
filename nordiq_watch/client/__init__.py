"""A daemon from Python: typed answers, retries, reloads that are waited for.

    import time

    from nordiq_watch.client import Client

    with Client("http://127.0.0.1:8000", key=open(".nordiq_key").read().strip()) as watch:
        watch.feed([{"timestamp": time.time(), "server_name": "ppdb001", "cpu_user_pct": 25.3}])
        print(watch.reload().current_model)
        for name, server in watch.predictions().servers.items():
            print(name, server.risk_score, server.metrics["cpu_user_pct"].p50[-1])

It needs requests and msgspec alone: no torch, no numpy. docs/client.md has all of it.
"""

from nordiq_watch.api.feed import Fed
from nordiq_watch.api.servers import Forgotten
from nordiq_watch.client.answers import (
    Alert,
    FleetForecast,
    MetricForecast,
    Model,
    ModelInfo,
    Reload,
    ServerForecast,
    Status,
)
from nordiq_watch.client.client import Client
from nordiq_watch.client.fleet_part import FleetPart
from nordiq_watch.errors import ClientError, DaemonAway, DaemonRefused, ReloadFailed

__all__ = [
    "Alert",
    "Client",
    "ClientError",
    "DaemonAway",
    "DaemonRefused",
    "Fed",
    "FleetForecast",
    "FleetPart",
    "Forgotten",
    "MetricForecast",
    "Model",
    "ModelInfo",
    "Reload",
    "ReloadFailed",
    "ServerForecast",
    "Status",
]
