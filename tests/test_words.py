"""The package speaks the field's language: CONTRIBUTING.md has the glossary, this test the phrases to avoid."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "nordiq_watch"
MODULES = sorted(PACKAGE.rglob("*.py"))

BANNED = {
    "whoever": "name the component: the client, the caller, the reader",
    "nobody": "say what is missing: no client, no server",
    "somebody": "name the actor: another process, the owner",
    r"who (asks|wants|reads|calls|looks|waits|sends|sent|guesses)": "programs are no persons: the client, the caller",
    r"those who": "name them: clients, servers, listeners",
    "what came": "measured values, received samples, the measurement",
    r"so many": "per, a number of, the count",
    "strangers?": "unauthenticated clients",
    r"comes? round": "runs, has a round",
    r"keeps? book": "records, counts",
    r"one a (server|slot|line|row|answer|day)": "one per …",
    r"says? of it": "reports, states",
}
"""Phrases of one translator's English, and what to write instead."""

FOR_NO_READER = ("nobody", "somebody", "whoever", "anybody")
"""What no page, no message and no comment says: the actor has a name."""

RETIRED = {
    "lookout": "version source",
    "sightings?": "stability tracker, observation",
    "ledger": "sample store",
    "narrator": "event log",
    "vigil": "watchdog notifier",
    "historian": "history writer",
    "bookkeeper": "accuracy tracker",
    "allowance": "log throttle",
    "sparing": "log throttle",
}
"""Names that were this project's own, and the field's."""


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings and comments with their lines; not the text that users read, which other tests hold."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def find_phrases(source: str, phrases: dict[str, str]) -> list[str]:
    return [
        f"line {line}: {found[0]!r}; write: {better}"
        for line, text in prose_of(source)
        for phrase, better in phrases.items()
        for found in re.finditer(rf"\b{phrase}\b", text, flags=re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_and_comments_use_the_words_of_the_field(path: Path) -> None:
    assert find_phrases(path.read_text(encoding="utf-8"), BANNED) == []


def test_pages_and_messages_name_who_acts() -> None:
    files = [path for folder in ("docs", "benchmarks", "nordiq_watch") for path in (REPOSITORY / folder).rglob("*")]
    texts = [path for path in files if path.suffix in (".md", ".py", ".js", ".html")]
    texts += [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "config.yaml")]
    words = re.compile(rf"\b({'|'.join(FOR_NO_READER)})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_retired_names_stay_retired(path: Path) -> None:
    words = re.findall(r"[A-Za-z]+", path.read_text(encoding="utf-8").replace("_", " "))
    found = {word for word in words for name in RETIRED if re.fullmatch(name, word, flags=re.IGNORECASE)}
    assert not found, {word: RETIRED[name] for word in found for name in RETIRED if re.fullmatch(name, word.lower())}


def test_the_glossary_names_what_the_test_retires() -> None:
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(words.split(",")[0] in page for words in RETIRED.values())


def test_the_rule_sees_what_it_forbids() -> None:
    assert find_phrases('"""Whoever asks."""\nx = 1  # so many a minute\n', BANNED) == [
        "line 1: 'Whoever'; write: name the component: the client, the caller, the reader",
        "line 2: 'so many'; write: per, a number of, the count",
    ]
    assert find_phrases('message = "so many"\n', BANNED) == []
