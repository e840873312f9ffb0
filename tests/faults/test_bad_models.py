"""A bad model must not go live, and if one is live all the same, it must not keep a good one out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.models import ENCODER, METRICS, QUANTILES, tiny_spec
from support.yard import Yard, full_window

from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.jobs import LoadLatest, LoadVersion, RollBack, Unpin
from nordiq_watch.spec import CenterScale, ModelSpec, TargetNormalizer

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
D = "tft_model_20250104_000000"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    (tmp_path / "models").mkdir()
    return Yard(tmp_path / "models", tmp_path / "state")


def constant(*, targets: tuple[str, ...] = METRICS, scale: float = 1.0, **levels: float) -> ModelSpec:
    """A model that says the same of every server: `levels`, plus and minus `scale` times the band of its weights."""
    normalizers = {
        target: TargetNormalizer(kind="fixed", missing=CenterScale(levels[target], scale)) for target in targets
    }
    return tiny_spec(targets=targets, target_normalizers=normalizers)


def fractions() -> ModelSpec:
    """Trained on fractions of 1 instead of percent: 0.4 for 40 %, in a band that is as narrow."""
    return constant(cpu_user_pct=0.004, mem_used_pct=0.006, scale=0.0001)


def empty(window: WindowSnapshot) -> WindowSnapshot:
    return replace(window, servers=(), profiles=(), values=window.values[:0], statuses=window.statuses[:0])


def quiet_window() -> WindowSnapshot:
    """Servers that hardly move: a good model's band is a fifth of a point wide."""
    window = full_window()
    chance = np.random.default_rng(3)
    values = np.array([40.0, 60.0]) + chance.normal(scale=0.1, size=window.values.shape)
    return replace(window, values=values.astype(np.float32))


def levels(*levels: float, noise: float = 2.0, slots: int = ENCODER) -> WindowSnapshot:
    """One server per level of its CPU; memory is 60 % everywhere."""
    window = full_window(servers=len(levels), slots=slots)
    chance = np.random.default_rng(5)
    centers = np.array([[(level, 60.0)] for level in levels])
    values = centers + chance.normal(scale=noise, size=window.values.shape)
    return replace(window, values=np.clip(values, 0, 100).astype(np.float32))


class TestWhatNeverGoesLiveByItself:
    @pytest.mark.parametrize("live_first", [True, False], ids=["after a good one", "as the first"])
    @pytest.mark.parametrize(
        ("what", "says"),
        [
            ({"spec": fractions()}, "has no width from p10 to p90"),
            ({"spec": constant(cpu_user_pct=0.4, mem_used_pct=0.6), "band": 5.0}, "max_error"),
            ({"band": 0.0}, "has no width from p10 to p90"),
            ({"band": 20.0}, "has a band of"),
            ({"spec": constant(cpu_user_pct=60.0, mem_used_pct=40.0), "band": 2.0}, "look exchanged"),
            ({"shift": 8.0}, "max_error"),
            ({"band": -3.0}, "out of order"),
        ],
        ids=["fractions", "fractions with a band", "no band", "20 sigma", "exchanged", "far off", "reversed"],
    )
    def test_it_is_refused(self, yard: Yard, what: dict[str, Any], says: str, live_first: bool) -> None:
        if live_first:
            yard.drop(A)
            yard.look()
        yard.drop(B, **what)
        yard.look()
        assert yard.live_name == (A if live_first else None)
        assert says in yard.reason(B)

    def test_a_level_that_is_the_same_whatever_a_server_measured(self, yard: Yard) -> None:
        """In a window that is too short for a look at its past."""
        yard.snapshot = levels(20.0, 45.0, 70.0, slots=8)
        yard.drop(B, spec=constant(cpu_user_pct=45.0, mem_used_pct=60.0), band=5.0)
        yard.look()
        assert yard.live_name is None
        assert "whatever a server measured" in yard.reason(B)

    def test_quantiles_between_the_served_ones_count_too(self, yard: Yard) -> None:
        """Answers sort all quantiles of a point, so that a wrong one moves those that are served."""
        quantiles = (*QUANTILES[:2], 0.75, QUANTILES[2])
        spec = tiny_spec(quantiles=quantiles)
        spec = tiny_spec(quantiles=quantiles, network=msgspec.structs.replace(spec.network, output_size=(4, 4)))
        yard.drop(B, spec=spec, bias=(-1.0, 0.0, 30.0, 1.0))
        yard.look()
        assert yard.live_name is None
        assert "out of order" in yard.reason(B)


class TestWhatGoesLive:
    @pytest.mark.parametrize(
        "window",
        [
            full_window(),
            full_window(servers=1),
            full_window(slots=ENCODER // 2),
            full_window(slots=ENCODER // 2 + 1),
            levels(5.0, 40.0, 95.0),
            levels(0.0, 100.0),
            levels(40.0, 40.0, noise=0.0),
            quiet_window(),
        ],
        ids=["noisy", "one server", "just warm", "short", "different", "at the ends", "constant", "quiet"],
    )
    def test_last_value_with_an_honest_band(self, yard: Yard, window: WindowSnapshot) -> None:
        yard.snapshot = window
        yard.drop(A)
        yard.look()
        yard.drop(B, shift=0.2)
        yard.look()
        assert yard.live_name == B

    def test_a_window_that_is_too_short_is_said_in_the_reload(self, yard: Yard) -> None:
        yard.snapshot = full_window(slots=ENCODER // 2 + 1)
        yard.drop(A)
        yard.look()
        (remark,) = yard.service.recent(1)[0].remarks
        assert "the window is too short" in remark

    def test_a_fleet_that_began_late_in_a_long_window_is_judged(self, yard: Yard) -> None:
        yard.snapshot.values[:, :2] = np.nan
        yard.drop(A)
        yard.look()
        assert yard.service.recent(1)[0].remarks == ()
        yard.drop(B, spec=fractions())
        yard.look()
        assert yard.live_name == A


class TestABadOneThatIsLive:
    """It went live on an empty window, where nothing speaks against it."""

    @pytest.fixture(params=[full_window(), quiet_window(), full_window(slots=ENCODER // 2)],
                    ids=["noisy", "quiet", "just warm"])  # fmt: skip
    def bad(self, yard: Yard, request: pytest.FixtureRequest) -> Yard:
        yard.keeps_previous = False
        yard.snapshot = empty(yard.snapshot)
        yard.drop(A)
        yard.look()
        yard.drop(B, spec=fractions())
        yard.start()
        yard.look()
        assert yard.live_name == B
        yard.snapshot = request.param
        return yard

    def test_the_next_good_drop_goes_live_by_itself(self, bad: Yard) -> None:
        bad.drop(C)
        bad.look()
        assert bad.live_name == C

    def test_the_good_one_before_goes_live_by_name(self, bad: Yard) -> None:
        record = bad.ask(LoadVersion(A))
        assert (record.outcome, bad.live_name) == ("loaded", A)

    def test_and_so_does_the_latest_good_one(self, bad: Yard) -> None:
        bad.drop(C)
        assert bad.ask(LoadLatest()).outcome == "loaded"

    @pytest.mark.parametrize("restarts", [0, 1])
    def test_rolling_back_works(self, bad: Yard, restarts: int) -> None:
        for _ in range(restarts):
            bad.start()
            bad.look()
        record = bad.ask(RollBack())
        assert (record.outcome, bad.live_name) == ("loaded", A)
        assert bad.states()[B] == "quarantined"

    def test_no_good_version_is_remembered_as_rejected(self, bad: Yard) -> None:
        bad.drop(C)
        bad.look()
        bad.ask(RollBack())
        assert {name for name, refusal in bad.store.current.refusals.items() if refusal.state == "rejected"} == set()


class TestWhatAPersonNames:
    @pytest.mark.parametrize("what", [{"spec": fractions()}, {"band": 0.0}, {"band": 20.0}, {"shift": 8.0}])
    def test_it_need_only_be_possible(self, yard: Yard, what: dict[str, Any]) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B, **what)
        yard.look()
        assert yard.ask(LoadVersion(B)).outcome == "loaded"
        assert yard.live_name == B

    def test_it_stays_over_a_restart_because_it_is_pinned(self, yard: Yard) -> None:
        yard.drop(A)
        yard.drop(B, spec=fractions())
        yard.ask(LoadVersion(B))
        yard.start()
        yard.look()
        assert (yard.live_name, yard.service.pinned) == (B, B)

    def test_what_was_live_stays_live_over_a_restart_whatever_the_window_says_now(self, yard: Yard) -> None:
        yard.drop(B, spec=fractions())
        yard.ask(LoadVersion(B))
        yard.ask(Unpin())
        yard.start()
        yard.look()
        assert yard.live_name == B

    def test_other_bytes_under_its_name_are_held_against_the_window(self, yard: Yard) -> None:
        yard.snapshot = empty(yard.snapshot)
        yard.drop(A)
        yard.drop(B)
        yard.look()
        yard.snapshot = full_window()
        for file in (yard.models_dir / B).iterdir():
            file.unlink()
        (yard.models_dir / B).rmdir()
        yard.drop(B, spec=fractions())
        yard.start()
        yard.look()
        assert yard.live_name == A

    @pytest.mark.parametrize("what", [{"shift": 200.0}, {"band": -3.0}])
    def test_the_impossible_is_refused(self, yard: Yard, what: dict[str, Any]) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B, **what)
        assert yard.ask(LoadVersion(B)).outcome == "rejected"
        assert yard.live_name == A


def test_a_pinned_version_that_is_gone_is_told_once_with_what_is_live(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    yard.drop(A)
    yard.look()
    yard.drop(B)
    yard.ask(LoadVersion(A))
    yard.models_dir.joinpath(A).rename(yard.models_dir.parent / A)
    yard.start()
    for _ in range(3):
        yard.look()
    assert (yard.live_name, yard.service.pinned) == (B, A)
    told = [line for line in caplog.messages if "its directory is gone" in line]
    assert told == [
        f"{A} is pinned, but its directory is gone: {B} is live instead, and newer drops wait. Bring it back, or end "
        "the pin with unpin."
    ]
