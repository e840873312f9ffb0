"""One server must never decide on all models, whatever it sends; and what samples refused is forgotten with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.models import METRICS, tiny_spec
from support.yard import Yard, full_window

from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.jobs import LoadLatest, LoadVersion, RollBack
from nordiq_watch.spec import CenterScale, ModelSpec, NetworkSpec, TargetNormalizer

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
C = "tft_model_20250103_000000"
LOAD = "load_average"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    (tmp_path / "models").mkdir()
    return Yard(tmp_path / "models", tmp_path / "state", metrics=(*METRICS, LOAD))


def load_spec() -> ModelSpec:
    """Reads and forecasts CPU and load."""
    return tiny_spec(targets=(METRICS[0], LOAD))


def load_window(*, servers: int = 21, seed: int = 2) -> WindowSnapshot:
    window = full_window(servers=servers)
    chance = np.random.default_rng(seed)
    load = 3.0 + chance.normal(scale=0.3, size=(*window.values.shape[:2], 1))
    return replace(
        window, metrics=(*METRICS, LOAD), values=np.concatenate([window.values, load], axis=2).astype(np.float32)
    )


class TestAbsurdSamples:
    @pytest.mark.parametrize("servers", [1, 2, 3, 21, 100])
    @pytest.mark.parametrize("value", [3e38, 1e20, 1e12, 9e9])
    @pytest.mark.parametrize("live_first", [True, False])
    def test_one_server_keeps_no_model_out(self, yard: Yard, value: float, servers: int, live_first: bool) -> None:
        yard.snapshot = load_window(servers=servers)
        if live_first:
            yard.drop(A, spec=load_spec())
            yard.look()
        yard.snapshot.values[0, -4:-1, 2] = value
        yard.drop(B, spec=load_spec(), shift=0.1)
        yard.look()
        assert yard.live_name == B

    @pytest.mark.parametrize("value", [3e38, 1e12])
    def test_and_makes_no_bad_one_look_good(self, yard: Yard, value: float) -> None:
        """What is much for the metric was once the largest value of the window."""
        yard.snapshot = load_window()
        yard.drop(A, spec=load_spec())
        yard.look()
        yard.snapshot.values[0, -4:-1, 2] = value
        yard.drop(B, spec=load_spec(), shift=1000.0)
        yard.look()
        assert yard.live_name == A

    def test_what_was_left_out_is_said(self, yard: Yard) -> None:
        yard.snapshot = load_window()
        yard.snapshot.values[0, -4:-1, 2] = 3e38
        yard.drop(A, spec=load_spec())
        yard.look()
        assert yard.service.recent(1)[0].remarks == (
            "1 of 21 servers do not count (ppdb000): their samples are absurd",
        )

    def test_if_all_of_them_are_a_made_up_fleet_stands_in(self, yard: Yard) -> None:
        yard.snapshot = load_window(servers=3)
        yard.snapshot.values[:, -4:-1, 2] = 3e38
        yard.drop(A, spec=load_spec(), band=-3.0)
        yard.look()
        assert yard.live_name is None
        yard.drop(B, spec=load_spec())
        yard.look()
        assert yard.live_name == B
        assert "made-up fleet" in yard.service.recent(1)[0].remarks[-1]


class TestServersThatCannotBeForecast:
    def test_by_the_live_model_either(self, yard: Yard) -> None:
        """One server's load jumps between next to nothing and three: the exponential of its band is infinite."""
        yard.snapshot = load_window()
        yard.drop(A, spec=logarithmic(), band=3.0)
        yard.look()
        assert yard.live_name == A
        yard.snapshot.values[4, ::2, 2] = 1e-30
        yard.drop(B, spec=logarithmic(), band=3.0, shift=0.01)
        yard.look()
        assert yard.live_name == B
        assert yard.service.recent(1)[0].remarks == (
            "1 of 21 servers do not count (ppdb004): the live model gives no numbers either",
        )

    def test_a_target_that_left_the_encoder_is_no_fault_of_the_model(self, yard: Yard) -> None:
        """One server stopped to measure it; the window, which is longer than the encoder, still has some values."""
        window = full_window(slots=30)
        window.values[1, -20:, 0] = np.nan
        yard.snapshot = window
        yard.drop(A)
        yard.look()
        assert yard.live_name == A

    def test_one_that_the_candidate_alone_cannot_forecast_refuses_it(self, yard: Yard) -> None:
        yard.snapshot = load_window()
        yard.drop(A, spec=load_spec())
        yard.look()
        yard.drop(B, spec=load_spec(), shift=float("inf"))
        yard.look()
        assert yard.live_name == A
        assert "not finite for 21 of 21" in yard.reason(B)


def logarithmic() -> ModelSpec:
    """Its load is scaled as a logarithm, and the exponential is taken of what the network says."""
    spec = load_spec()
    normalizers = dict(spec.target_normalizers)
    normalizers[LOAD] = TargetNormalizer(kind="encoder", transformation="log", center_length=1, scale_length=12)
    return tiny_spec(targets=spec.targets, target_normalizers=normalizers)


class TestRefusalsThatCameFromTheData:
    def refuse(self, yard: Yard) -> None:
        """B knows servers at 40 % alone, and for a while they all are at 90 %."""
        yard.snapshot = full_window()
        yard.snapshot.values[..., 0] += 50.0
        yard.drop(A)
        yard.look()
        normalizers = {
            target: TargetNormalizer(kind="fixed", missing=CenterScale(level, 1.0))
            for target, level in zip(METRICS, (40.0, 60.0), strict=True)
        }
        yard.drop(B, spec=tiny_spec(target_normalizers=normalizers), band=3.0)
        yard.look()
        assert (yard.live_name, yard.states()[B]) == (A, "rejected")

    def move_on(self, yard: Yard, slots: int) -> None:
        window = full_window()
        yard.snapshot = replace(window, last_slot=window.last_slot + slots)

    def test_are_forgotten_when_the_window_has_moved_on(self, yard: Yard) -> None:
        self.refuse(yard)
        self.move_on(yard, 11)
        yard.look()
        assert yard.live_name == A
        self.move_on(yard, 12)
        yard.look()
        assert yard.live_name == B

    def test_over_a_restart_too(self, yard: Yard) -> None:
        self.refuse(yard)
        yard.start()
        yard.look()
        assert yard.states()[B] == "rejected"
        self.move_on(yard, 12)
        yard.start()
        yard.look()
        assert yard.live_name == B

    def test_while_it_is_as_it_was_nothing_is_tried_again(self, yard: Yard) -> None:
        self.refuse(yard)
        reloads = yard.history.last_id
        for _ in range(3):
            yard.look()
        assert yard.history.last_id == reloads

    def test_what_the_bytes_themselves_are_is_not_forgotten(self, yard: Yard) -> None:
        yard.drop(A, spec=tiny_spec(interval_seconds=60))
        yard.look()
        yard.snapshot = replace(yard.snapshot, last_slot=yard.snapshot.last_slot + 1000)
        reloads = yard.history.last_id
        yard.look()
        assert (yard.states()[A], yard.history.last_id) == ("rejected", reloads)

    def test_what_was_refused_beside_a_model_is_tried_beside_the_next(self, yard: Yard) -> None:
        yard.on_loss = "refuse"
        yard.start()
        yard.drop(A, spec=tiny_spec(targets=METRICS[:1], network=one_output()))
        yard.look()
        yard.drop(B)
        yard.look()
        yard.drop(C, spec=tiny_spec(targets=METRICS[:1], network=one_output()))
        yard.look()
        assert (yard.live_name, yard.states()[C]) == (B, "rejected")
        yard.ask(RollBack())
        yard.look()
        assert yard.live_name == C

    def test_it_is_not_tried_again_at_a_restart_for_want_of_a_live_model(self, yard: Yard) -> None:
        yard.on_loss = "refuse"
        yard.start()
        yard.drop(A)
        yard.look()
        yard.drop(B, spec=tiny_spec(targets=METRICS[:1], network=one_output()))
        yard.look()
        assert yard.live_name == A
        yard.start()
        yard.look()
        assert yard.live_name == A


def one_output() -> NetworkSpec:
    return tiny_spec(targets=METRICS[:1]).network


class TestRefusalsOfVersionsThatAreGone:
    @pytest.mark.slow
    def test_are_dropped_with_them(self, yard: Yard) -> None:
        yard.drop(A)
        for day in range(2, 28):
            name = f"tft_model_202501{day:02}_000000"
            yard.drop(name, band=-3.0)
            yard.look()
            assert name in yard.store.current.refusals
            remove(yard, name)
        yard.look()
        assert yard.store.current.refusals == {}
        yard.start()
        assert yard.store.current.refusals == {}

    def test_an_empty_or_missing_directory_forgets_nothing(self, yard: Yard) -> None:
        yard.drop(B, band=-3.0)
        yard.look()
        away = yard.models_dir.with_name("away")
        yard.models_dir.rename(away)
        yard.look()
        yard.models_dir.mkdir()
        yard.look()
        yard.models_dir.rmdir()
        away.rename(yard.models_dir)
        reloads = yard.history.last_id
        yard.look()
        assert (yard.states()[B], yard.history.last_id) == ("rejected", reloads)

    def test_what_the_operator_left_stays_away(self, yard: Yard) -> None:
        yard.drop(A)
        yard.look()
        yard.drop(B, shift=0.2)
        yard.look()
        yard.ask(RollBack())
        remove(yard, B)
        yard.look()
        yard.drop(B, shift=0.2)
        yard.look()
        assert (yard.live_name, yard.states()[B]) == (A, "quarantined")
        assert yard.ask(LoadVersion(B)).outcome == "loaded"
        assert yard.ask(LoadLatest()).outcome == "unchanged"


def remove(yard: Yard, name: str) -> None:
    for file in (yard.models_dir / name).iterdir():
        file.unlink()
    (yard.models_dir / name).rmdir()
