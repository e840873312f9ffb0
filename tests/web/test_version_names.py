"""Whatever stands where a version's name belongs: nothing outside the models directory is opened, named or loaded."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.web_world import VERSION, World

from nordiq_watch.reload.jobs import LoadVersion

pytestmark = pytest.mark.slow

PIECES = st.sampled_from(
    ["..", ".", "/", "//", "\\", "%2e", "%2E%2e", "%252e", "%2f", "%5c", "%00", "\x00", "models", "models/", VERSION,
     "tft_model_", "tft_model_escape", "etc/passwd", "~", "$HOME", "C:", "file://", "\n", "\u2215", "\uff0e", " ", "*",
     "tft_model_a"]
)  # fmt: skip
NAMES = st.one_of(st.lists(PIECES, min_size=1, max_size=8).map("".join), st.text(min_size=1, max_size=40))
ENCODINGS = st.sampled_from([0, 1, 2])
anything = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def guarded_world(world: World, tmp_path: Path) -> World:
    """Beside the models directory lies what must not be reached; inside, links that lead there."""
    outside = tmp_path / "tft_model_outside"
    outside.mkdir()
    (world.models_dir / VERSION).mkdir()
    (world.models_dir / "tft_model_escape").symlink_to(outside)
    (world.models_dir / "tft_model_root").symlink_to("/")
    return world


def check(world: World, answer_status: int, text: str, asked: int, tmp_path: Path) -> None:
    jobs = world.reloads.jobs[asked:]
    assert answer_status in (202, 400), answer_status
    assert (answer_status == 202) == bool(jobs)
    for job in jobs:
        assert isinstance(job, LoadVersion)
        target = world.models_dir / job.name
        assert target.parent == world.models_dir
        assert os.sep not in job.name
        assert job.name not in (".", "..")
        assert not target.is_symlink()
    assert str(tmp_path) not in text


@anything
@given(name=NAMES, times=ENCODINGS)
@example(name="../tft_model_outside", times=1)
@example(name="models/../../tft_model_outside", times=2)
@example(name="tft_model_escape", times=0)
@example(name=f"{VERSION}\x00.txt", times=1)
@example(name=f"..%2f{VERSION}", times=0)
@example(name="tft_model_" + "a" * 5000, times=0)
@example(name="tft_model_" + "a" * 246, times=0)
def test_in_the_url(guarded_world: World, tmp_path: Path, name: str, times: int) -> None:
    asked = len(guarded_world.reloads.jobs)
    sent = quote(name, safe="" if times else "%", errors="replace")  # not at all: a % in the name is an escape already
    sent = quote(sent, safe="") if times == 2 else sent
    answer = guarded_world.client.post("/admin/reload-model", query_string=f"wait=false&model_path={sent}")
    check(guarded_world, answer.status_code, answer.text, asked, tmp_path)


@anything
@given(name=NAMES)
@example(name="tft_model_root/etc")
@example(name="models\\..\\tft_model_outside")
@example(name="/" + VERSION)
def test_in_the_body(guarded_world: World, tmp_path: Path, name: str) -> None:
    asked = len(guarded_world.reloads.jobs)
    answer = guarded_world.client.post("/admin/reload-model?wait=false", json={"model_path": name})
    check(guarded_world, answer.status_code, answer.text, asked, tmp_path)


@anything
@given(name=NAMES)
def test_in_the_paths_of_routes(guarded_world: World, tmp_path: Path, name: str) -> None:
    for route in ("/predictions/", "/admin/reloads/", "/console/", "/servers/", "/charts/"):
        answer = guarded_world.client.get(route + quote(name, safe="/%", errors="replace"))
        assert answer.status_code < 500
        assert str(tmp_path) not in answer.text
        assert "root:" not in answer.text


@pytest.mark.parametrize("name", ["tft_model_escape", "tft_model_root"])
def test_a_link_is_named_as_such(guarded_world: World, name: str) -> None:
    answer = guarded_world.client.post("/admin/reload-model", query_string={"model_path": name})
    assert answer.status_code == 400
    assert "symbolic link" in answer.json["detail"]
