"""One host that is seen twice: the words name the label by which."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.translators import AT, make_translator, series

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import FeederSettings
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.server_names import ServerNames

SLOTS = (0.0, 300.0, 600.0)


def doubled(*requests: Sequence[Series], replica_labels: Sequence[str] = ("replica",)) -> list[str]:
    """What is said of each request that doubles something."""
    feeders = FeederSettings(replica_labels=tuple(replica_labels))
    names = ServerNames(section="feeders.test", server_label="instance", feeders=feeders)
    translator = make_translator(names=names, clock=lambda: AT + 900)
    said = []
    for request in requests:
        delivery = Delivery.unheard()
        translator.translate(request, delivery)
        if (note := delivery.drops.get(Drop.DOUBLED)) is not None:
            said.append(note.example)
    return said


def pairs(
    one: dict[str, str], other: dict[str, str], *, name: str = "node_load1", value: float = 0.5
) -> list[list[Series]]:
    """The requests of two senders, one after the other, over three slots."""
    return [[series(name, (at + late, value), **labels)] for at in SLOTS for late, labels in ((0.0, one), (7.0, other))]


@pytest.mark.parametrize(("name", "value"), [("node_load1", 0.5), ("node_boot_time_seconds", AT - 9e6)])
def test_one_host_under_two_values_of_a_label_is_told_with_the_settings_that_help(name: str, value: float) -> None:
    said = doubled(*pairs({"dc_replica": "a"}, {"dc_replica": "b"}, name=name, value=value))
    assert said == [
        f"{name} of web1 comes with dc_replica 'a' and 'b': add it to feeders.replica_labels if it tells senders "
        "apart, to feeders.cluster_label if it tells hosts apart"
    ]


def test_it_is_told_from_one_request_too_and_where_one_sender_lacks_the_label() -> None:
    requests = pairs({"dc": "a"}, {})
    together = [first + second for first, second in zip(requests[::2], requests[1::2], strict=True)]
    said = doubled(*together)
    (words,) = said
    assert words.startswith("node_load1 of web1 comes with dc '' and 'a': ")


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({"replica": "a"}, {"replica": "b"}, "one series"),
        ({"instance": "web1:9100"}, {"instance": "web1:9101"}, "two exporters of one host"),
        ({"dc": "a", "zone": "1"}, {"dc": "b", "zone": "2"}, "which of the labels it is cannot be said"),
    ],
)
def test_others_are_not_told(one: dict[str, str], other: dict[str, str], why: str) -> None:
    assert doubled(*pairs(one, other)) == [], why


def test_a_label_that_changes_its_value_once_is_none() -> None:
    """A pod with another name, an external label that was added."""
    before, after = pairs({"pod": "x"}, {"pod": "x"}), pairs({"pod": "y"}, {"pod": "y"})
    assert doubled(*before[:3], *after[3:]) == []


def test_a_sum_of_several_series_is_none() -> None:
    requests = [[series("node_network_receive_bytes_total", (at, at), device=name)] for at in SLOTS for name in "ab"]
    assert doubled(*requests) == []
