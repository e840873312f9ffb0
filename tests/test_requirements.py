"""requirements.txt is what `make requirements` makes of pyproject.toml, and docs/licences.md misses none of it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
DIRECT = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"]["train"]]
LEFT_OUT = set(PYPROJECT["tool"]["uv"]["exclude-dependencies"])
REMEDY = "run `make requirements licences`"

LINES = [line.partition("#")[0].strip() for line in (REPOSITORY / "requirements.txt").read_text().splitlines()]
PINS = dict(line.split("==") for line in LINES if line)


def needed(texts: Iterable[str]) -> list[Requirement]:
    """What of the requirements holds on this machine, without extras."""
    requirements = [Requirement(text) for text in texts]
    return [item for item in requirements if item.marker is None or item.marker.evaluate({"extra": ""})]


def assert_pinned(requirement: Requirement) -> None:
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement} is not pinned: {REMEDY}"
    assert requirement.specifier.contains(pin, prereleases=True), f"{requirement}, but {pin} is pinned: {REMEDY}"


@pytest.mark.parametrize("requirement", needed(DIRECT), ids=str)
def test_what_the_project_needs_is_pinned(requirement: Requirement) -> None:
    assert_pinned(requirement)


@pytest.mark.parametrize("name", PINS)
def test_what_a_dependency_needs_is_pinned_too(name: str) -> None:
    for requirement in needed(metadata.requires(name) or []):
        if canonicalize_name(requirement.name) not in LEFT_OUT:
            assert_pinned(requirement)


def test_nothing_is_pinned_that_nothing_needs() -> None:
    by_others = [requirement for name in PINS for requirement in metadata.requires(name) or []]
    wanted = {canonicalize_name(Requirement(text).name) for text in [*DIRECT, *by_others]}
    assert sorted(set(PINS) - wanted) == [], REMEDY


def test_whoever_has_no_gpu_gets_nothing_of_cuda() -> None:
    assert [name for name in PINS if re.match("nvidia|cuda|triton", name)] == []


def test_make_installs_torch_first_by_its_pin() -> None:
    command = ["make", "--dry-run", "--always-make", "VENV=absent", "TORCH_INDEX=", "absent/.runtime"]
    steps = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()
    installs = [step.partition(" install --quiet ")[2].split() for step in steps if " install " in step]
    assert installs[:2] == [[f"torch=={PINS['torch']}"], ["-r", "requirements.txt"]]


def test_every_licence_is_listed() -> None:
    rows = re.findall(r"^\| (\S+) +\| (.*?) +\|$", (REPOSITORY / "docs" / "licences.md").read_text(), flags=re.M)
    licences = {canonicalize_name(name): licence for name, licence in rows if name != "Name"}
    assert sorted(licences) == sorted(PINS), REMEDY
    assert [name for name, licence in licences.items() if licence in ("", "UNKNOWN")] == []
