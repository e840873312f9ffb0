"""Train, evaluate and forecast from Python, without a daemon: for notebooks and scripts.

    from nordiq_watch import offline

    directory = offline.train("data/", max_minutes=10)
    evaluation = offline.evaluate(directory, "data/", days=3)
    offline.score_table(evaluation).query("by == 'all'")
    offline.forecast(directory, frame)

A dataset is a directory, as for `nordiq-watch train`, or a DataFrame with the same columns. It needs the extra `train`.
docs/offline.md has all of it.
"""

from nordiq_watch.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    MissingPackage,
    ModelRejected,
    NordiqError,
    NotDropped,
)
from nordiq_watch.evaluation.report import Comparison, Difference, Evaluation, Score
from nordiq_watch.offline.forecasting import forecast
from nordiq_watch.offline.scoring import compare, difference_table, draw, evaluate, score_table
from nordiq_watch.offline.training import train

__all__ = [
    "CheckpointError",
    "Comparison",
    "ConfigError",
    "DatasetError",
    "Difference",
    "Evaluation",
    "MissingPackage",
    "ModelRejected",
    "NordiqError",
    "NotDropped",
    "Score",
    "compare",
    "difference_table",
    "draw",
    "evaluate",
    "forecast",
    "score_table",
    "train",
]
