from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from support.fake_model import fake_servable
from support.models import METRICS, tiny_spec
from support.yard import Yard

from nordiq_watch.events import ModelWentLive
from nordiq_watch.live.servable import Servable
from nordiq_watch.reload.jobs import LoadVersion
from nordiq_watch.reload.losses import find_losses

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


def servable(*servers: str, **changes: Any) -> Servable:
    model, _ = fake_servable(name=A)
    return replace(model, spec=tiny_spec(**changes), known_servers=frozenset(servers))


def losses(candidate: Servable, live: Servable, *sending: str) -> list[str]:
    return list(find_losses(candidate, live, sending=sending))


def test_the_same_again_loses_nothing() -> None:
    assert losses(servable("a"), servable("a"), "a") == []


def test_a_target() -> None:
    one = servable(targets=METRICS[:1])
    assert losses(one, servable()) == [f"it does not forecast mem_used_pct, which {A} forecasts"]
    assert losses(servable(), one) == []


def test_a_part_of_the_horizon() -> None:
    (loss,) = losses(servable(max_prediction_length=1), servable())
    assert loss == f"its horizon has 1 of the 4 steps that {A} forecasts"


def test_a_quantile() -> None:
    (loss,) = losses(servable(), servable(quantiles=(0.02, 0.1, 0.5, 0.9, 0.98)))
    assert loss == f"it has no quantile 0.02, 0.98, which {A} has"


def test_servers_but_only_those_that_send_now() -> None:
    live = servable(*(f"s{number}" for number in range(9)))
    (loss,) = losses(servable("s0"), live, *(f"s{number}" for number in range(7)), "new")
    assert loss == f"it was not trained on s1, s2, s3, s4, s5 and 1 more, which {A} knows"
    assert losses(servable("s0"), live, "s0", "new") == []


class TestInAReload:
    @pytest.fixture
    def lesser(self, yard: Yard) -> Yard:
        yard.drop(A)
        yard.look()
        targets = METRICS[:1]
        yard.drop(B, spec=tiny_spec(targets=targets))
        return yard

    def test_it_is_said_in_the_record_and_announced(self, lesser: Yard) -> None:
        lesser.look()
        assert lesser.live_name == B
        warning = f"it does not forecast mem_used_pct, which {A} forecasts"
        assert lesser.service.recent(1)[0].warnings == (warning,)
        event = next(event for event in reversed(lesser.events) if isinstance(event, ModelWentLive))
        assert event.warnings == (warning,)

    def test_or_refused(self, lesser: Yard) -> None:
        lesser.on_loss = "refuse"
        lesser.start()
        (lesser.models_dir / B).rename(lesser.models_dir / ".away")
        lesser.look()
        (lesser.models_dir / ".away").rename(lesser.models_dir / B)
        lesser.look()
        assert lesser.live_name == A
        assert lesser.reason(B).startswith("loss: it does not forecast mem_used_pct")

    def test_but_not_if_a_person_names_it(self, lesser: Yard) -> None:
        lesser.on_loss = "refuse"
        lesser.start()
        record = lesser.ask(LoadVersion(B))
        assert (record.outcome, lesser.live_name) == ("loaded", B)
        assert msgspec.json.encode(record)
