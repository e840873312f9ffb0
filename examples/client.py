"""Talks to a daemon with requests alone: lists the models, asks for a reload, prints the forecast of some servers.

export NORDIQ_API_KEY=$(head -n 1 .nordiq_key)
python examples/client.py                              # all three
python examples/client.py --url http://127.0.0.1:8000 --servers 5 --no-reload
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import requests

RELOAD_SECONDS = 150  # a reload is answered when it is over


def main() -> None:
    args = parse_arguments()
    key = os.environ.get("NORDIQ_API_KEY")
    if not key:
        sys.exit("error: put the daemon's API key into NORDIQ_API_KEY, for example with $(head -n 1 .nordiq_key)")
    with requests.Session() as session:
        session.headers["X-API-Key"] = key
        try:
            list_models(session, args.url)
            if args.reload:
                reload_latest(session, args.url)
            print_forecast(session, args.url, servers=args.servers)
        except requests.ConnectionError:
            sys.exit(f"error: no daemon answers at {args.url}")
        except requests.RequestException as error:
            sys.exit(f"error: {error}")


def list_models(session: requests.Session, url: str) -> None:
    """Prints one line a version: `*` is the one that answers."""
    answer = session.get(f"{url}/admin/models", timeout=10)
    answer.raise_for_status()
    for model in answer.json()["models"]:
        mark = "*" if model["is_current"] else " "
        print(
            f"{mark} {model['name']}  {model['state']:<12} {model['size_mb']:>8} MB  {model.get('reason', '')}".rstrip()
        )


def reload_latest(session: requests.Session, url: str) -> None:
    """Asks for the latest version. A version that cannot be loaded is no HTTP surprise: the answer says why."""
    answer = session.post(f"{url}/admin/reload-model", timeout=RELOAD_SECONDS)
    body = answer.json()
    if not body.get("success"):
        sys.exit(f"error: the reload failed: {body.get('reason') or body.get('error')}")
    print(body["message"])


def print_forecast(session: requests.Session, url: str, *, servers: int) -> None:
    """Prints what each metric is and where it will be at the end of the horizon."""
    answer = session.get(f"{url}/predictions/current", timeout=10)
    answer.raise_for_status()
    body = answer.json()
    if body.get("error"):
        print(f"no forecast yet: {body['message']}")
        return
    metadata = body["metadata"]
    hours = metadata["horizon_steps"] * metadata["interval_seconds"] / 3600
    print(f"{metadata['model_type']} {metadata['model_version']}, {hours:g} hours ahead:")
    for server, prediction in list(body["predictions"].items())[:servers]:
        print(f"  {server}")
        for name, metric in prediction.items():
            if isinstance(metric, dict) and "p50" in metric:
                print(f"    {name:<16} {describe(metric)}")


def describe(metric: dict[str, Any]) -> str:
    now = "?" if metric["current"] is None else f"{metric['current']:.1f}"
    return f"{now} -> {metric['p50'][-1]:.1f}  ({metric['p10'][-1]:.1f} to {metric['p90'][-1]:.1f})"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="List the models, reload the latest, print a forecast.")
    parser.add_argument("--url", default=os.environ.get("NORDIQ_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--servers", type=int, default=3, help="how many servers to print (default: %(default)s)")
    parser.add_argument("--no-reload", dest="reload", action="store_false", help="only look")
    return parser.parse_args()


if __name__ == "__main__":
    main()
