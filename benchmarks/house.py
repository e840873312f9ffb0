"""The numbers by which the house review compared this code base with others, counted anew.

    python benchmarks/house.py                     # the working tree
    python benchmarks/house.py d05d750 HEAD        # any revisions: a row each

Counted over `nordiq_watch/**/*.py` with `ast`; tests are counted only where a column says so.

files / lines     Python files, and all their lines
code              lines of code: neither blank nor comment nor docstring
file              lines per file: median, maximum
function          lines per function, from `def` to its last line: median, 90th percentile, maximum
> 60              functions of more than 60 lines
nest > 3          share of functions with a statement nested more than three blocks deep
comments          comments per line of code
docs              functions without a leading underscore that have a docstring
typed             arguments with an annotation, `self` and `cls` aside
mirror            modules of more than 20 lines, `__init__` aside, with a test file of the same name in the same
                  folder of tests/
test/src          lines of tests per line of the package
broad / silent    handlers of Exception, BaseException or everything; those among all handlers whose body only passes
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "nordiq_watch"
_SMALL_LINES = 20
_LONG_LINES = 60
_DEEP = 3
_BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.AsyncFor, ast.AsyncWith, ast.Match)
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A file of the package: its path below it, its lines and its syntax tree."""

    path: Path
    lines: Sequence[str]
    tree: ast.Module

    @classmethod
    def read(cls, path: Path, *, below: Path) -> Module:
        text = path.read_text(encoding="utf-8")
        return cls(path.relative_to(below), text.splitlines(), ast.parse(text))

    @property
    def functions(self) -> list[Function]:
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


def count(tree: Path) -> dict[str, Any]:
    """All numbers of a checkout."""
    modules = [Module.read(path, below=tree / PACKAGE) for path in sorted((tree / PACKAGE).rglob("*.py"))]
    functions = [function for module in modules for function in module.functions]
    lengths = sorted(length_of(function) for function in functions)
    file_lengths = [len(module.lines) for module in modules]
    total = sum(file_lengths)
    code, comments = (sum(numbers) for numbers in zip(*map(count_code, modules), strict=True))
    handlers = [node for module in modules for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler)]
    tests = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (tree / "tests").rglob("*.py"))
    return {
        "files": len(modules),
        "lines": total,
        "file_median": round(statistics.median(file_lengths)),
        "file_max": max(file_lengths),
        "functions": len(functions),
        "function_median": round(statistics.median(lengths)),
        "function_p90": lengths[int(len(lengths) * 0.9)],
        "function_max": lengths[-1],
        "over_60": sum(length > _LONG_LINES for length in lengths),
        "nested": sum(depth_of(function) > _DEEP for function in functions) / len(functions),
        "code": code,
        "comments": comments / code,
        "documented": share(has_docstring(function) for function in functions if not function.name.startswith("_")),
        "typed": share(is_typed for function in functions for is_typed in typed_arguments(function)),
        "mirrored": share(has_mirror(module, tree / "tests") for module in modules if is_to_be_mirrored(module)),
        "test_ratio": tests / total,
        "broad": sum(is_broad(handler) for handler in handlers),
        "silent": sum(is_silent(handler) for handler in handlers),
    }


def length_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def depth_of(node: ast.AST) -> int:
    """How many blocks the deepest statement is in; functions inside count for themselves."""
    inside = [child for child in ast.iter_child_nodes(node) if not isinstance(child, Function | ast.Lambda)]
    return max((depth_of(child) + isinstance(child, _BLOCKS) for child in inside), default=0)


def count_code(module: Module) -> tuple[int, int]:
    """Lines of code, and comments, those behind code included."""
    docstrings = {
        number
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code: set[int] = set()
    comments = 0
    for token in tokenize.generate_tokens(io.StringIO("\n".join(module.lines) + "\n").readline):
        comments += token.type == tokenize.COMMENT
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings), comments


def has_docstring(function: Function) -> bool:
    return ast.get_docstring(function) is not None


def typed_arguments(function: Function) -> Iterator[bool]:
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if argument.arg not in ("self", "cls"):
            yield argument.annotation is not None


def is_to_be_mirrored(module: Module) -> bool:
    return module.path.name != "__init__.py" and len(module.lines) > _SMALL_LINES


def has_mirror(module: Module, tests: Path) -> bool:
    return (tests / module.path.parent / f"test_{module.path.name}").exists()


def is_broad(handler: ast.ExceptHandler) -> bool:
    names = [handler.type] if not isinstance(handler.type, ast.Tuple) else handler.type.elts
    return any(name is None or ast.unparse(name) in ("Exception", "BaseException") for name in names)


def is_silent(handler: ast.ExceptHandler) -> bool:
    return is_broad(handler) and all(isinstance(node, ast.Pass) for node in handler.body)


def share(values: Iterator[bool]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 1.0


COLUMNS = {
    "files / lines": "{files} / {lines:,}",
    "code": "{code:,}",
    "file": "{file_median}, {file_max}",
    "function": "{function_median}, {function_p90}, {function_max}",
    "> 60": "{over_60}",
    "nest > 3": "{nested:.1%}",
    "comments": "{comments:.1%}",
    "docs": "{documented:.0%}",
    "typed": "{typed:.0%}",
    "mirror": "{mirrored:.0%}",
    "test/src": "{test_ratio:.2f}",
    "broad/silent": "{broad}/{silent}",
}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    head = ["", *COLUMNS]
    lines = [[name, *(form.format(**numbers) for form in COLUMNS.values())] for name, numbers in rows.items()]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *lines]
    )


def count_revision(revision: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        return count(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", help="what git knows; without any, the working tree")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    rows = {name: count_revision(name) for name in arguments.revisions} or {"working tree": count(REPOSITORY)}
    sys.stdout.write(table(rows) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
