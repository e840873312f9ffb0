"""How long a file and a function may be. What is longer stands here by name, with the reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {".py", ".js", ".css", ".html", ".cpp", ".h", ".inc"}

FILE_LINES = {"nordiq_watch": 300, "benchmarks": 600, "examples": 300, "tests": 600}
FUNCTION_LINES = {"nordiq_watch": 40, "benchmarks": 60, "examples": 40, "tests": 60}
"""By folder. A test file goes through its subject case by case; tests and benchmarks read from top to bottom."""

LONG_FILES = {
    "nordiq_watch/web/console/static/console.css": "one stylesheet, so that a page loads one",
    "tests/reload/test_worker.py": "being cut",
}

LONG_FUNCTIONS: dict[str, str] = {}


def sources() -> Iterator[Path]:
    for folder in FILE_LINES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SOURCES and not {"node_modules", "__pycache__"} & set(path.parts):
                yield path.relative_to(ROOT)


def long_functions(source: str, limit: int) -> list[str]:
    """Names of the functions with more lines than `limit`, docstring included, decorators not."""
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= limit]


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in sources()}


def test_no_file_is_longer_than_its_budget(texts: dict[Path, str]) -> None:
    long = {str(path) for path, text in texts.items() if len(text.splitlines()) > FILE_LINES[path.parts[0]]}
    assert long == set(LONG_FILES)


def test_no_function_is_longer_than_its_budget(texts: dict[Path, str]) -> None:
    long = {
        f"{path}: {name}"
        for path, text in texts.items()
        if path.suffix == ".py"
        for name in long_functions(text, FUNCTION_LINES[path.parts[0]])
    }
    assert long == set(LONG_FUNCTIONS)


def test_a_function_is_counted_from_def_to_its_last_line() -> None:
    long = "class Some:\n    def long(self) -> None:\n        a()\n        b()\n"
    source = f"@cached\ndef short() -> None:\n    a()\n\n{long}"
    assert long_functions(source, 2) == ["long"]
    assert not long_functions(source, 3)
