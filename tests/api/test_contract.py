"""The names that clients rely on, as the contract has them: a Struct may gain fields and lose none of these."""

from __future__ import annotations

import msgspec
import pytest

from nordiq_watch.api import alerts, enums, explanations


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (alerts.ActiveAlerts, "timestamp count alerts"),
        (alerts.Alert, "server_name level risk_score profile message time_to_issue"),
        (
            explanations.Explanation,
            "server_name timestamp risk_score prediction shap attention counterfactuals data_points model_version",
        ),
        (explanations.Attributions, "top_features"),
        (explanations.Feature, "feature importance stars"),
        (explanations.Attention, "weights focus_periods analysis"),
        (explanations.Counterfactual, "scenario impact recommendation"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_its_fields_are_there_always(kind: type[msgspec.Struct], names: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    assert {name for name in names.split() if name not in fields} == set()
    assert all(fields[name].required for name in names.split())


def test_words_of_levels() -> None:
    assert [level.value for level in enums.Level] == ["healthy", "degraded", "warning", "critical"]
    assert [enums.Level.of_rank(level.rank) for level in enums.Level] == list(enums.Level)
