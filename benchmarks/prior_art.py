"""A peer for reload.py: a server that reloads the way that is usual today. Flask, waitress and watchdog as well, and
answers that are ready as well, so that only the way of reloading differs:

under one lock, which every request takes too, the live model is deleted, then the new one is built, its weights are
loaded with safetensors and copied in, and it forecasts once. If that fails, there is no model any more.

python prior_art.py MODELS_DIR → its URL on stdout
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import safetensors.torch
import torch
from flask import Flask, Response, jsonify
from waitress import serve
from watchdog.events import DirCreatedEvent, DirMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from nordiq_watch.artifact.layout import WEIGHTS_FILE
from nordiq_watch.artifact.manifest import read_spec
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.spec import ModelSpec

_SERVERS = 4
_ANSWER_BYTES = 2578  # as many as nordiq_watch answers for four servers
_THREADS = 8


class LockedModel:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network: TemporalFusionTransformer | None = None
        self._version = ""
        self._body = bytes(_ANSWER_BYTES)
        self.dealt_with: set[str] = set()

    def reload(self, directory: Path) -> None:
        """After a failure there is no model, and answers name no version."""
        with self._lock:
            self._network, self._version = None, ""
            try:
                self._network = _load(directory)
                self._version = directory.name
            finally:
                self.dealt_with.add(directory.name)

    def answer(self) -> Response:
        with self._lock:
            response = Response(self._body, mimetype="application/json")
            response.headers["X-Model-Version"] = self._version
            return response


def _load(directory: Path) -> TemporalFusionTransformer:
    spec = read_spec(directory)
    network = TemporalFusionTransformer(spec.network)
    network.load_state_dict(safetensors.torch.load_file(directory / WEIGHTS_FILE))
    network.eval()
    _forecast(network, spec)
    return network


@torch.inference_mode()
def _forecast(network: TemporalFusionTransformer, spec: ModelSpec) -> None:
    encoder, horizon, reals = spec.max_encoder_length, spec.max_prediction_length, len(spec.network.x_reals)
    network(
        torch.zeros(_SERVERS, encoder, 0, dtype=torch.long),
        torch.zeros(_SERVERS, encoder, reals),
        torch.full((_SERVERS,), encoder),
        torch.zeros(_SERVERS, horizon, 0, dtype=torch.long),
        torch.zeros(_SERVERS, horizon, reals),
    )


class ReloadWhatComes(FileSystemEventHandler):
    def __init__(self, model: LockedModel) -> None:
        self._model = model

    def on_created(self, event: FileSystemEvent) -> None:
        """A directory renamed in from outside of the watch."""
        if isinstance(event, DirCreatedEvent):
            self._model.reload(Path(str(event.src_path)))

    def on_moved(self, event: FileSystemEvent) -> None:
        if isinstance(event, DirMovedEvent):
            self._model.reload(Path(str(event.dest_path)))


def main(models_dir: Path) -> None:
    model = LockedModel()
    model.reload(max(models_dir.iterdir()))
    observer = Observer()
    observer.schedule(ReloadWhatComes(model), str(models_dir))
    observer.start()

    app = Flask("prior_art")
    app.add_url_rule("/predictions/current", view_func=model.answer)
    app.add_url_rule("/dealt-with/<version>", "dealt_with", lambda version: jsonify(version in model.dealt_with))
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    serve(app, sockets=[listener], threads=_THREADS, _quiet=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
