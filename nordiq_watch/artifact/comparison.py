"""A version's errors beside others', in words."""

from __future__ import annotations

from nordiq_watch.spec import Comparison, TrainingInfo


def describe_comparison(comparison: Comparison) -> str | None:
    """`0.860 times last value's, 0.970 times tft_model_…'s`; None where there are no figures."""
    figures = {"last value": comparison.beside_last_value, comparison.newest: comparison.beside_newest}
    parts = [f"{figure:.3f} times {name}'s" for name, figure in figures.items() if name and figure is not None]
    return ", ".join(parts) or None


def describe_errors(info: TrainingInfo | None) -> str | None:
    """As `describe_comparison`, and whether the version was dropped in spite of it."""
    comparison = info.comparison if info else None
    if comparison is None:
        return None
    figures = describe_comparison(comparison)
    if comparison.passed:
        return figures
    return f"{figures or 'not finite'} (dropped with --drop-anyway)"
