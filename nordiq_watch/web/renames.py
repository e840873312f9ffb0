"""Servers that are renamed because a second cluster turned up: once, between two requests of collectors."""

from __future__ import annotations

import logging

from nordiq_watch.errors import StorageError
from nordiq_watch.web.collectors import Translators
from nordiq_watch.web.services import Services

log = logging.getLogger(__name__)


def settle_clusters(services: Services, known: Translators) -> None:
    """Keeps what was learnt of clusters, and renames servers that are to be renamed. Where the disk fails, they keep
    their names, and it is tried again with the next request. Busy: it takes long, and no sample may be named meanwhile.
    """
    clusters = services.ingest.clusters
    if not clusters.save() or not clusters.is_renaming:
        return
    with clusters.alone() as alone:
        names = clusters.renames()
        if not alone or not names:
            return
        try:
            services.ingest.worker.rename(names)
        except StorageError as error:
            log.warning("%d servers cannot be called HOST@CLUSTER yet: %s", len(names), error)
            return
        for translator in known.all:
            translator.rename(names)
        clusters.finish()
    old, new = next(iter(names.items()))
    log.info("%d servers have new names, and keep their past: %.100r is %.100r", len(names), old, new)
