"""The documentation: every link leads somewhere, every command can be typed, the site is built without a warning."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nordiq_watch.cli.main import build_parser

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("benchmarks/*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.M | re.S)


def anchors_of(page: Path) -> set[str]:
    """As GitHub and MkDocs make them of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_code(page.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors_of(place), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_every_file_of_the_repository_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|benchmarks|docs|nordiq_watch|systemd|examples)/[\w./-]+)`", page.read_text())
    made = re.compile(r"benchmarks/results/")  # by running them
    assert [path for path in named if not made.match(path) and not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_can_be_typed(page: Path) -> None:
    parser, _ = build_parser()
    for block in re.findall(r"^```bash$(.*?)^```$", page.read_text(), flags=re.M | re.S):
        for line in re.findall(r"^nordiq-watch (.*)$", block, flags=re.M):
            words = shlex.split(re.split(r" [|>#] ?", line)[0])
            parser.parse_args(words)  # SystemExit names what is wrong


def warnings_of(module: Path) -> Iterator[str]:
    """The longest piece of each message that a module may log as a warning or an error, without what is filled in."""
    for node in ast.walk(ast.parse(module.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if ast.unparse(node.func) in ("log.warning", "log.error", "log.exception"):
            assert isinstance(node.args[0], ast.Constant), f"{module}: {ast.unparse(node)}"
            pieces = re.split(r"%[-0-9.]*[a-z%]", str(node.args[0].value))
            yield max((piece.strip(" :.,;()") for piece in pieces), key=len)


def test_every_warning_in_the_log_is_explained() -> None:
    pages = [(REPOSITORY / "docs" / name).read_text() for name in ("operations.md", "log.md")]
    explained = "".join(pages).replace("`", "")
    modules = (REPOSITORY / "nordiq_watch").rglob("*.py")
    lines = [line.replace("`", "") for module in modules for line in warnings_of(module)]
    assert [line for line in lines if line not in explained] == []


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    pages = [page.read_text() for page in tmp_path.rglob("*.html")]
    loaded = [url for page in pages for url in re.findall(r'(?:src|<link[^>]*href)="(https?://[^"]+)', page)]
    assert len(pages) > 10
    assert [url for url in loaded if "squidfunk" not in url] == []


DECISIONS = sorted((REPOSITORY / "docs" / "decisions").glob("0*.md"))


def test_every_decision_has_a_number_a_status_and_a_date_and_is_in_the_index() -> None:
    rows = []
    for page in DECISIONS:
        heading, _, status = page.read_text().splitlines()[:3]
        number, title = re.fullmatch(r"# (\d+)\. (.*)", heading).groups()  # type: ignore[union-attr]
        word, date = re.match(r"(Accepted|Replaced by .*), (\d{4}-\d\d-\d\d)\.$", status).groups()  # type: ignore[union-attr]
        assert page.name.startswith(f"{int(number):04}-"), page.name
        rows.append(f"| {page.name[:4]} | [{title}]({page.name}) | {word.lower()} | {date} |")
    index = (REPOSITORY / "docs" / "decisions" / "index.md").read_text()
    assert [line for line in index.splitlines() if line.startswith("| 0")] == rows
