from __future__ import annotations

import logging

import pytest
from support.web_world import VERSION, World

CONTRACT = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/status"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/admin/models"),
    ("POST", "/admin/reload-model"),
    ("GET", "/admin/reloads"),
    ("GET", "/admin/reloads/<reload_id>"),
    ("POST", "/admin/import"),
    ("POST", "/admin/rollback"),
    ("POST", "/admin/unpin"),
    ("GET", "/admin/model-info"),
    ("POST", "/feed/data"),
    ("POST", "/feed/prometheus"),
    ("POST", "/feed/telegraf"),
    ("GET", "/feed/sources"),
    ("POST", "/feed/collectd"),
    ("POST", "/v1/metrics"),
    ("POST", "/api/v2/write"),
    ("POST", "/write"),
    ("GET", "/ping"),
    ("POST", "/query"),
    ("GET", "/predictions/current"),
    ("GET", "/predictions/<path:server>"),
    ("GET", "/alerts/active"),
    ("GET", "/admin/accuracy"),
    ("GET", "/drift/status"),
    ("GET", "/drift/report"),
    ("GET", "/cascade/status"),
    ("GET", "/cascade/health"),
    ("GET", "/explain/<path:server>"),
    ("GET", "/servers"),
    ("DELETE", "/servers/<path:server>"),
    ("POST", "/servers/<path:server>/maintenance"),
    ("DELETE", "/servers/<path:server>/maintenance"),
    ("GET", "/historical/summary"),
    ("GET", "/historical/alerts"),
    ("GET", "/historical/environment"),
    ("GET", "/historical/server/<path:server>"),
    ("GET", "/historical/export/alerts"),
    ("GET", "/historical/export/environment"),
}


def test_the_api_is_the_contract(world: World) -> None:
    served = {
        (method, rule.rule)
        for rule in world.app.url_map.iter_rules()
        if not rule.endpoint.startswith("console")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == CONTRACT


def test_every_request_is_one_line_of_debug(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "nordiq_watch.web.app")
    world.stranger.get("/admin/models")
    world.client.get("/health")
    lines = [record.getMessage() for record in caplog.records if record.name == "nordiq_watch.web.app"]
    assert len(lines) == 2
    assert lines[0].startswith("GET /admin/models 401 in ")
    assert lines[1].startswith("GET /health 200 in ")
    assert lines[1].endswith(" ms, for 127.0.0.1")


def test_fields_come_in_the_order_of_the_contract(world: World) -> None:
    world.put_live()
    text = world.client.get("/admin/model-info").text
    assert text.startswith(f'{{"loaded":true,"mode":"tft","model_path":"models/{VERSION}"')


def test_two_spellings_of_a_path_are_not_one_route(world: World) -> None:
    assert world.client.get("/admin//models").status_code == 404
    assert world.client.get("/health/").status_code == 404
    assert world.client.get("/HEALTH").status_code == 404
