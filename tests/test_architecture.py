"""Imports point one way. The levels are those of docs/architecture.md, lowest first."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nordiq_watch"

LEVELS = (
    {
        "aggregation",
        "batches",
        "errors",
        "records",
        "metrics",
        "portions",
        "pace",
        "quantiles",
        "raw_quantiles",
        "last_values",
        "spec",
        "strict_yaml",
        "conversion",
        "names",
        "labels",
        "moments",
        "zones",
        "atomic_file",
        "api",
    },
    {"events", "config", "log_throttle", "backoff", "parts", "json_lists", "json_rows"},
    {"mailbox", "worker"},
    {"artifact", "network", "storage", "security"},
    {"live", "tables", "roster"},
    {"ingest", "reload", "quality", "training"},
    {"forecast", "evaluation", "importing"},
    {"alerting"},
    {"explain"},
    {"web", "host", "client", "offline"},
    {"daemon", "settings_reload", "cli", "__main__"},
)
FOUNDATION = LEVELS[0]  # plain values: these may use each other
TOP = LEVELS[-1]  # the composition roots start each other
TORCH_LIVES_IN = {"network", "training"}
ONLY_TESTS_IMPORT = {"captum"}
DRAWS = Path("evaluation/picture.py")  # the only module that imports matplotlib, when it is asked for a picture
ONLY_TRAINING_IMPORTS = {"pandas", "lightning", "pytorch_forecasting", "sklearn", "pyarrow"}
READS_ARROW = {Path("ingest/formats/arrow.py"), Path("client/frames.py")}  # which import pyarrow when it is needed
WRITES_TABLES = Path("web/arrow_tables.py")  # imports pyarrow, and is imported when a table is asked for
TAKES_DATAFRAMES = {"pandas", "pyarrow"}  # of these, what parts of DATAFRAMES_LIVE_IN may import
DATAFRAMES_LIVE_IN = {"tables", "importing", "offline"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level_of(part: str) -> int:
    return next(level for level, parts in enumerate(LEVELS) if part in parts)


def imports_of(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_at_the_top(path: Path) -> set[str]:
    """Dotted names of the modules that are imported together with this one."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = part_of(path)
    for name in imports_of(path):
        package, _, rest = name.partition(".")
        if package != "nordiq_watch" or rest.startswith("__version__"):
            continue
        other = rest.split(".")[0]
        allowed = (
            other == own
            or level_of(other) < level_of(own)
            or (own in FOUNDATION and other in FOUNDATION)
            or (own in TOP and other in TOP)
        )
        assert allowed, f"{path.relative_to(PACKAGE)} must not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_packages_stay_where_they_belong(path: Path) -> None:
    own = part_of(path)
    packages = {name.split(".")[0] for name in imports_of(path)}
    assert "torch" not in packages or own in TORCH_LIVES_IN
    excepted = TAKES_DATAFRAMES if own in DATAFRAMES_LIVE_IN else set()
    if path.relative_to(PACKAGE) in READS_ARROW:
        assert not any(name.partition(".")[0] == "pyarrow" for name in imports_at_the_top(path))
        excepted = {"pyarrow"}
    if path.relative_to(PACKAGE) == WRITES_TABLES:
        excepted = {"pyarrow"}
    assert not packages & (ONLY_TRAINING_IMPORTS - excepted) or own == "training"
    assert not packages & ONLY_TESTS_IMPORT
    assert "matplotlib" not in packages or path.relative_to(PACKAGE) == DRAWS


def test_the_levels_are_those_of_the_documentation() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ((?:`\w+` ?)+)\|", page, flags=re.MULTILINE)
    documented = {int(level): set(re.findall(r"`(\w+)`", parts)) for level, parts in rows}
    assert documented == {level: parts - {"__main__"} for level, parts in enumerate(LEVELS, start=1)}


def test_every_part_has_a_level() -> None:
    for path in MODULES:
        level_of(part_of(path))


def test_each_test_folder_mirrors_a_part() -> None:
    beside = {"collectors", "end_to_end", "faults", "support", "system", "__pycache__"}
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()} - beside
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert folders <= parts


BUILDS_TYPES = {
    "conversion.py": "builds the description at import, before it hands out the function that converts",
    "ingest/rows.py": "types made at run time: built before the plan that holds their decoder is published",
}
"""Files that may call msgspec with a type outside of module level, and why no second thread can meet half a type."""


def first_decodes(tree: ast.Module) -> list[ast.Call]:
    """Calls that may build a type's description in whichever thread makes them first."""
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if _takes_type(call) or (_makes_decoder(call) and id(call) in inside)]


def _takes_type(call: ast.Call) -> bool:
    name = ast.unparse(call.func).split(".")[-1]
    return name == "convert" or (name == "decode" and any(keyword.arg == "type" for keyword in call.keywords))


def _makes_decoder(call: ast.Call) -> bool:
    return ast.unparse(call.func).split(".")[-1] in ("Decoder", "converter")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_types_are_built_before_a_second_thread_can_meet_them(path: Path) -> None:
    """See nordiq_watch/conversion.py: two first decodes of one type at once end the process."""
    if str(path.relative_to(PACKAGE)) in BUILDS_TYPES:
        return
    found = first_decodes(ast.parse(path.read_text(encoding="utf-8")))
    assert not found, [f"line {call.lineno}: {ast.unparse(call)}; make a Decoder at module level" for call in found]


def test_the_rule_sees_what_it_forbids() -> None:
    forbidden = """
from msgspec import convert, json
value = msgspec.json.decode(b"", type=Thing)
value = msgspec.convert(tree, Thing)
value = convert(tree, Thing)
value = json.decode(b"", type=Thing)
def read(body):
    return msgspec.json.Decoder(Thing).decode(body)
"""
    assert len(first_decodes(ast.parse(forbidden))) == 5
    allowed = "decoder = msgspec.json.Decoder(Thing)\ndef read(body):\n    return decoder.decode(body), name.decode()\n"
    assert not first_decodes(ast.parse(allowed))
