"""The words of the console's pages, explained for people who see them for the first time."""

from __future__ import annotations

WORDS: tuple[tuple[str, str], ...] = (
    ("window", "The newest measurements of every server, in memory: 24 hours by default. A model reads them."),
    ("slot", "One step of the time grid, 5 minutes by default. It holds the mean of what was measured in it."),
    ("horizon", "How far ahead a forecast reaches: 8 hours by default."),
    (
        "p10, p50, p90",
        "The forecast, as a range. p50 is as likely too high as too low; 8 of 10 measurements should lie between p10 "
        "and p90.",
    ),
    ("band", "What lies between p10 and p90. A wide one says that the model is not sure."),
    (
        "version",
        "A trained model: a directory named tft_model_ and its time. One is live, others wait or were refused.",
    ),
    (
        "live",
        "The version that answers now. A newer one takes its place by itself, without a restart, once it has proved "
        "that it is complete, undamaged and sensible.",
    ),
    ("canary", "The last of these proofs: the new version forecasts the servers of now, and must make sense there."),
    ("pinned", "A person named the version that is to stay live; newer ones wait until it is unpinned."),
    (
        "risk",
        "0 to 100 for each server, from its worst metric: 70 % from what is measured now, 30 % from what is forecast. "
        "50 is degraded, 60 warning, 80 critical.",
    ),
    ("drift", "The servers behave unlike in the training data, so that a training is due."),
    ("warm", "A server with enough history for a forecast: half of what the model reads, 12 hours by default."),
)
"""Word and meaning. docs/glossary.md has the same, and a test compares them."""
