from __future__ import annotations

import pytest

from nordiq_watch.alerting.endings import Endings

LABELS = {"spot1": {"lifecycle": "spot"}, "db1": {"lifecycle": "fixed"}}


@pytest.mark.parametrize(
    ("server", "quiet"),
    [
        ("asg-7", True),
        ("asg-", True),
        ("my-asg-7", False),
        ("web-1a", True),
        ("web-x1", False),
        ("spot1", True),
        ("db1", False),
        ("unknown", False),
    ],
)
def test_patterns_and_labels_say_who_may_end_quietly(server: str, quiet: bool) -> None:
    endings = Endings(("asg-*", "web-[0-9]?", "label:lifecycle:spot"), lambda name: LABELS.get(name, {}))
    assert endings(server) is quiet
    assert not Endings(())(server)
