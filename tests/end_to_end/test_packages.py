"""What `python -m build` makes: an sdist that builds the wheel, and a wheel that runs where no repository is.

The wheel is installed in an environment of its own; only its dependencies come from the one that runs the tests.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from support.daemon import PATIENCE_SECONDS, clean_environment, wait_until
from support.models import drop_model

pytest.importorskip("build")
pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "config.yaml", "systemd", "nordiq_watch")
MADE_BY_OTHERS = shutil.ignore_patterns("__pycache__", "*.so")
VERSION = "tft_model_20250101_000000"


def environment(**changes: str) -> dict[str, str]:
    """Without what would make the repository importable."""
    environ = clean_environment() | changes
    environ.pop("PYTHONPATH", None)
    return environ


def run(*command: str | Path, cwd: Path, **changes: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sdist of a fresh copy of the repository, and the wheel that was built from that sdist."""
    root = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        source, target = REPOSITORY / name, root / "repository" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=MADE_BY_OTHERS)
        else:
            shutil.copy(source, target)
    # Not isolated: setuptools is here because torch needs it, and no network is asked for another one.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", root / "dist", root / "repository", cwd=root)
    return root / "dist"


def only(dist: Path, pattern: str) -> Path:
    (file,) = dist.glob(pattern)
    return file


@dataclass(frozen=True)
class Installed:
    """The wheel in `place`, where nothing else of this program is; `work` is an empty directory to work in."""

    place: Path
    work: Path

    @property
    def program(self) -> Path:
        return self.place / "bin" / "nordiq-watch"

    def run(self, *arguments: str | Path, **changes: str) -> str:
        return run(self.program, *arguments, cwd=self.work, **changes)


@pytest.fixture(scope="module")
def installed_wheel(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    # A line in a .pth file lends the packages, but not what their own .pth files do: no editable install of ours.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    install = ("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index")
    run(sys.executable, *install, only(dist, "*.whl"), cwd=place)
    return place


@pytest.fixture
def installed(installed_wheel: Path, tmp_path: Path) -> Installed:
    return Installed(installed_wheel, tmp_path)


def test_the_program_is_the_installed_one(installed: Installed) -> None:
    script = (
        "import importlib.metadata as m, nordiq_watch as n; print(n.__file__, n.__version__, m.version('nordiq-watch'))"
    )
    file, version, told = run(installed.place / "bin" / "python", "-c", script, cwd=installed.work).split()
    assert Path(file).is_relative_to(installed.place)
    assert version == told
    assert installed.run("--version") == f"nordiq-watch {version}\n"


def test_doctor_and_verify_work(installed: Installed) -> None:
    directory = drop_model(installed.work / "models", VERSION)
    assert f"{VERSION} can be loaded" in installed.run("doctor", NORDIQ_SERVER__PORT="0")
    assert installed.run("verify", directory).startswith(f"{VERSION}: complete and loadable")


def test_the_files_for_users_are_in_it(installed: Installed) -> None:
    assert installed.run("default-config") == (REPOSITORY / "config.yaml").read_text()
    assert f"ExecStart={installed.program} serve" in installed.run("install-service", "--dry-run")
    script = "from nordiq_watch.host.shipped import read_unit_files; print(*read_unit_files())"
    units = run(installed.place / "bin" / "python", "-c", script, cwd=installed.work).split()
    folder = REPOSITORY / "systemd"
    assert units == sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def address(installed: Installed) -> Iterator[str]:
    """Of the installed daemon, in an empty directory: there is no config, no key and no model."""
    with subprocess.Popen(
        [str(installed.program), "serve"],
        cwd=installed.work,
        env=environment(NORDIQ_SERVER__PORT="0"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(installed.work / "stderr.txt").open("wb"),
    ) as process:

        def find_address() -> re.Match[str] | None:
            told = (installed.work / "stderr.txt").read_text()
            assert process.poll() is None, told
            return re.search(r"serving on (http://\S+)", told)

        try:
            yield wait_until(find_address, what="the daemon to say where it serves")[1]
        finally:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0


def test_the_daemon_serves_where_there_is_nothing(installed: Installed, address: str) -> None:
    log = (installed.work / "logs" / "inference_daemon.log").read_text()
    assert "there is no config.yaml here: the defaults are used" in log
    assert ask(address, "/status").json()["running"] is True
    static = REPOSITORY / "nordiq_watch" / "web" / "console" / "static"
    for file in static.iterdir():
        assert ask(address, f"/console/{file.name}").content == file.read_bytes()
    assert "<form" in ask(address, "/sign-in").text

    drop_model(installed.work / "models", VERSION)
    wait_until(lambda: requests.get(f"{address}/ready", timeout=5).ok, what="the first version to be live")
    key = (installed.work / ".nordiq_key").read_text().split()[0]
    info = ask(address, "/admin/model-info", {"X-API-Key": key}).json()
    assert info["model_name"] == VERSION
    assert info["compute"].startswith("native" if shutil.which("c++") else "torch")


def test_the_image_is_built_from_these_sources_too() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    let_in = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(itertools.chain(*copies)) == sorted(let_in) == sorted([*SOURCES, "requirements.txt"])


def test_the_image_knows_whether_its_daemon_answers(installed: Installed, address: str) -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", "")
    (command,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", dockerfile, flags=re.M)
    python, *check = json.loads(command)
    assert python == "python"

    def healthy(port: int) -> bool:
        here = [word.replace("8000", str(port)) for word in check]
        done = subprocess.run([installed.place / "bin" / "python", *here], check=False, stderr=subprocess.DEVNULL)
        return done.returncode == 0

    assert healthy(int(address.rpartition(":")[2]))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    assert not healthy(port)


def ask(address: str, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    response = requests.get(address + path, headers=headers, timeout=PATIENCE_SECONDS)
    assert response.ok, f"{path}: {response.status_code}"
    return response


def test_without_a_compiler_there_is_a_wheel_too(dist: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*command, "--wheel-dir", tmp_path, only(dist, "*.tar.gz"), cwd=tmp_path, CC="/bin/false", CXX="/bin/false")
    without, wheel = names_in(only(tmp_path, "*.whl")), names_in(only(dist, "*.whl"))
    assert not any(name.endswith(".so") for name in without)
    assert [Path(name).name.split(".")[0] for name in wheel - without] == ["_native"] * 3 * bool(shutil.which("c++"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as content:
        return set(content.namelist())
