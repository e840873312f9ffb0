from __future__ import annotations

from support.web_world import VERSION, World, take_residuals

from nordiq_watch.records.accuracy import AccuracyKey, AccuracyTotals, BandState, ErrorSums


def test_drift_before_and_after_the_first_forecast(world: World) -> None:
    before = world.client.get("/drift/status").json
    assert (before["status"], before["needs_retraining"], before["prediction_error_rate"]) == ("no_model", False, None)
    take_residuals(world)
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
    take_residuals(world)
    status = world.client.get("/cascade/status").json
    assert status["cascade_detected"] is True
    assert status["cascades"][0]["affected_servers"] == ["s0", "s1", "s2"]
    assert (status["cascades"][0]["metric"], status["cascades"][0]["direction"]) == ("mem_used_pct", "up")
    health = world.client.get("/cascade/health").json
    assert health["health_score"] == health["metrics"]["mem_used_pct"] == 66.7


def test_prometheus_has_both(world: World) -> None:
    take_residuals(world)
    text = world.stranger.get("/metrics").text
    assert 'nordiq_watch_drift{figure="prediction_error_rate"} 0.6' in text
    assert "nordiq_watch_cascade_health 66.7" in text


def test_accuracy_shows_how_wide_adaptive_bands_are(world: World) -> None:
    keys = [AccuracyKey(VERSION, "ab" * 32, "cpu_user_pct", horizon) for horizon in (1800, 7200)]
    quality = world.services.quality
    quality.accuracy.all_totals = tuple(AccuracyTotals(key, ErrorSums(10, covered=8.0), 300.0, 600.0) for key in keys)
    quality.bands.publish({keys[0]: BandState(1.23456, points=200.0, covered=158.0)})
    (version,) = world.client.get("/admin/accuracy").json["versions"]
    assert version["metrics"]["cpu_user_pct"]["30m"]["band"] == {"factor": 1.2346, "coverage": 0.79}
    assert version["metrics"]["cpu_user_pct"]["2h"]["band"] is None
    lines = [line for line in world.stranger.get("/metrics").text.splitlines() if "band_factor{" in line]
    assert len(lines) == 1
    assert 'horizon_seconds="1800"' in lines[0]
    assert lines[0].endswith(" 1.23456")
