"""The answer that is being given: one reference, written by the forecaster, read by every request."""

from __future__ import annotations

from nordiq_watch.forecast.answer import Answer, explain_no_model


class AnswerBoard:
    """Assigning an attribute is atomic in Python, so readers need no lock and never see half an answer."""

    def __init__(self) -> None:
        self._answer = explain_no_model()

    def peek(self) -> Answer:
        """The newest answer. It is immutable: a request that holds it answers consistently."""
        return self._answer

    def publish(self, answer: Answer) -> None:
        self._answer = answer
