from __future__ import annotations

import numpy as np
from support.fleets import made_of
from support.web_world import World

from nordiq_watch.quality.surprise import Surprise


def take(world: World) -> None:
    names = tuple(f"s{number}" for number in range(5))
    outside = np.array([[1.0], [1.0], [1.0], [0.0], [0.0]])
    surprise = Surprise(10, names, ("mem_used_pct",), outside, outside * 4)
    made = made_of([[50.0]], [[[50.0]]])
    world.services.drift.take(made, [surprise])
    world.services.cascade.take(made, [surprise])


def test_drift_before_and_after_the_first_forecast(world: World) -> None:
    before = world.client.get("/drift/status").json
    assert (before["status"], before["needs_retraining"], before["prediction_error_rate"]) == ("no_model", False, None)
    take(world)
    after = world.client.get("/drift/status").json
    assert (after["status"], after["needs_retraining"]) == ("significant", True)
    assert (after["prediction_error_rate"], after["anomaly_rate"]) == (0.6, 0.6)
    assert after["reasons"][0] == "prediction_error_rate is 0.6, above 0.4"
    report = world.client.get("/drift/report").json
    assert (report["points"], report["metrics"]["mem_used_pct"]) == (
        5,
        {"psi": None, "mean": 50.0, "training_mean": None},
    )


def test_cascades_before_and_after(world: World) -> None:
    assert world.client.get("/cascade/health").json["health_score"] is None
    assert world.client.get("/cascade/status").json["cascade_detected"] is False
    take(world)
    status = world.client.get("/cascade/status").json
    assert status["cascade_detected"] is True
    assert status["cascades"][0]["affected_servers"] == ["s0", "s1", "s2"]
    assert (status["cascades"][0]["metric"], status["cascades"][0]["direction"]) == ("mem_used_pct", "up")
    health = world.client.get("/cascade/health").json
    assert health["health_score"] == health["metrics"]["mem_used_pct"] == 66.7


def test_prometheus_has_both(world: World) -> None:
    take(world)
    text = world.stranger.get("/metrics").text
    assert 'nordiq_watch_drift{figure="prediction_error_rate"} 0.6' in text
    assert "nordiq_watch_cascade_health 66.7" in text
