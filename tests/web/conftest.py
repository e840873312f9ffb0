"""An app on real parts: window, journal, ingest, published answer and live. Reloads are scripted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.web_world import BuildWorld, ScriptedReloads, World, build_services, small_config

from nordiq_watch.config.schema import AuthSettings
from nordiq_watch.config.settings import Settings
from nordiq_watch.web.app import create_app
from nordiq_watch.web.services import Services
from nordiq_watch.worker import Worker


@pytest.fixture
def build_world(tmp_path: Path) -> Iterator[BuildWorld]:
    """Makes an app whose ingest, history and accuracy run in their threads; `sections` replace those of the config."""
    running: list[tuple[Worker, threading.Thread]] = []
    built: list[Services] = []

    def build(**sections: Any) -> World:
        settings = Settings(config=small_config(**sections), root=tmp_path)
        settings.models_dir.mkdir(exist_ok=True)  # a second app on the same state is a restart
        reloads = ScriptedReloads(settings.models_dir)
        services = build_services(settings, reloads)
        built.append(services)
        for worker in (services.ingest.worker, services.history.writer, services.quality.accuracy):
            running.append((worker, threading.Thread(target=worker.run)))
            running[-1][1].start()
        return World(services, create_app(services), reloads, settings.models_dir)

    yield build
    for worker, thread in running:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()
    for services in built:
        for store in (services.ingest.journal, services.quality.store, services.history.store, services.roster.store):
            store.close()


@pytest.fixture
def world(build_world: BuildWorld) -> World:
    return build_world()


@pytest.fixture
def private_world(build_world: BuildWorld) -> World:
    """One where nothing is public."""
    return build_world(auth=AuthSettings(public=()))
