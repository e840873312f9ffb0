"""`make quick` is quick: a test that starts a daemon, or needs models that are trained first, is marked slow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))
STARTERS = {"DaemonProcess", "make_site", "trained_models", "site"}
"""Names of support and of conftest.py that stand for a process, unless a file means something of its own by them."""

EXAMPLE = """
{head}
def call(daemon: DaemonProcess): ...

@pytest.fixture
def daemon():
    with DaemonProcess() as daemon:
        yield daemon

class TestIt:
    {mark}
    def test_by_a_fixture(self, daemon): ...

{mark}
def test_by_itself():
    with DaemonProcess() as process: ...

def test_without(): ...
"""

Function = ast.FunctionDef


def functions_of(module: ast.Module) -> list[Function]:
    return [node for node in ast.walk(module) if isinstance(node, Function)]


def named_in(function: Function) -> set[str]:
    """Names and parameters, those in annotations too."""
    nodes = list(ast.walk(function))
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.arg for node in nodes if isinstance(node, ast.arg)
    }


def daemon_tests(module: ast.Module) -> list[Function]:
    """Those that name one, or a function of the file that does."""
    functions = functions_of(module)
    named = [(function, named_in(function)) for function in functions]
    starters = STARTERS - {function.name for function in functions}
    while found := {function.name for function, names in named if names & starters} - starters:
        starters |= found
    return [function for function in functions if function.name.startswith("test_") and function.name in starters]


def is_slow(module: ast.Module, test: Function) -> bool:
    marks = [node.value for node in module.body if isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node)]
    return any("pytest.mark.slow" in ast.unparse(mark) for mark in [*marks, *test.decorator_list])


def unmarked(module: ast.Module) -> list[str]:
    return [test.name for test in daemon_tests(module) if not is_slow(module, test)]


@pytest.mark.parametrize(
    ("head", "mark", "expected"),
    [
        ("", "", ["test_by_itself", "test_by_a_fixture"]),
        ("", "@pytest.mark.slow", []),
        ("pytestmark = [pytest.mark.slow, pytest.mark.threads]", "", []),
    ],
)
def test_what_starts_a_daemon_unmarked_is_found(head: str, mark: str, expected: list[str]) -> None:
    assert unmarked(ast.parse(EXAMPLE.format(head=head, mark=mark))) == expected


def test_tests_that_start_a_daemon_are_marked_slow() -> None:
    texts = {str(file.relative_to(TESTS)): file.read_text() for file in FILES}
    modules = {file: ast.parse(text) for file, text in texts.items() if any(name in text for name in STARTERS)}
    assert sum(bool(daemon_tests(module)) for module in modules.values()) > 30
    assert [(file, name) for file, module in modules.items() for name in unmarked(module)] == []
