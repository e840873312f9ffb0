from __future__ import annotations

import pytest

from nordiq_watch.metrics import PROFILE_BY_PREFIX, shown_profile


@pytest.mark.parametrize(
    ("label", "profile"),
    [
        ("database", "Database"),
        ("ml_compute", "ML Compute"),
        ("web_api", "Web API"),
        ("conductor_mgmt", "Conductor Mgmt"),
        ("data_ingest", "ETL/Ingest"),
        ("risk_analytics", "Risk Analytics"),
        ("generic", "Generic"),
        ("WEB-API", "Web API"),
        ("web api", "Web API"),
        ("kafka", "kafka"),
        ("Kafka_Broker", "Kafka_Broker"),
    ],
)
def test_other_spellings_stand_for_our_profiles_and_others_for_themselves(label: str, profile: str) -> None:
    assert shown_profile(label) == profile


def test_our_own_names_are_shown_as_they_are() -> None:
    assert [shown_profile(name) for name in PROFILE_BY_PREFIX.values()] == list(PROFILE_BY_PREFIX.values())
