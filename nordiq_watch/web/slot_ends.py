"""Time passes for collectors: a slot whose lateness is over is written without a request that would bring it up."""

from __future__ import annotations

import logging

from flask import Flask

from nordiq_watch.api.sources import FeedFormat
from nordiq_watch.errors import Busy, StorageError
from nordiq_watch.ingest.delivery import Delivery, Sender
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.samples import count_clipped
from nordiq_watch.names import find_fault
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.feed import check_readings
from nordiq_watch.web.feeding import take
from nordiq_watch.web.services import services

log = logging.getLogger(__name__)


def say_slot_ends(app: Flask) -> None:
    """Writes what the slots of all collectors say at their end. For a thread that calls it every few seconds: what the
    disk does not take, or a daemon that stops, is said again with a later call, or after the next start.
    """
    with app.app_context():
        for translator in translators().all:
            with services().ingest.clusters.naming():
                try:
                    _say(translator)
                except (Busy, StorageError) as error:
                    log.debug("the ends of slots are not written yet: %s", error)


def _say(translator: Translator) -> None:
    said = translator.say_due()
    kind = FeedFormat(translator.route)
    delivery = Delivery(Sender.of(kind, key=None, address=None, user_agent=None))
    delivery.note_all_dropped(said.losses.counts, said.losses.examples)
    nameable = [reading for reading in said.readings if find_fault(reading.server) is None]  # senders were told others
    kept = False
    try:
        if nameable:
            checked = count_clipped(
                check_readings(nameable), said.clipped, below=said.clipped_below, example=said.clipped_example
            )
            take(services(), checked, delivery)
        kept = True
    finally:
        translator.settle(said.readings, kept=kept)
    if delivery.drops:
        services().ingest.sources.note(delivery)
