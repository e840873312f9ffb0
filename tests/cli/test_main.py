from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from nordiq_watch import __version__
from nordiq_watch.cli import main as main_module
from nordiq_watch.cli.main import build_parser, main
from nordiq_watch.errors import ConfigError

COMMANDS = [
    *(
        "serve",
        "train",
        "import",
        "servers",
        "init",
        "verify",
        "sign",
        "default-config",
        "check-config",
        "compare",
        "doctor",
        "evaluate",
        "install-service",
    ),
    *("models", "info", "reload", "rollback", "unpin", "reloads"),
    *("watch", "key", "agent", "demo", "completion"),
]


def run_process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nordiq_watch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def test_every_command_is_there() -> None:
    _, owners = build_parser()
    assert sorted(owners) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert re.search(rf"^  .*nordiq-watch {command}\b", capsys.readouterr().out, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_in_help_can_be_typed(command: str) -> None:
    parser, owners = build_parser()
    (subparsers,) = (action for action in parser._actions if action.dest == "command")
    examples = re.findall(r"^  nordiq-watch (.+?)(?: {2,}.*| [|>].*)?$", subparsers.choices[command].epilog, re.M)  # type: ignore[index]
    for example in examples:
        assert parser.parse_args(example.split()).command in owners


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "error: the following arguments are required: COMMAND. See `nordiq-watch --help`.\n"),
        (["models", "--bogus"], "error: unrecognized arguments: --bogus. See `nordiq-watch --help`.\n"),
        (["models", "--js"], "error: unrecognized arguments: --js. See `nordiq-watch --help`.\n"),
        (["reloads", "x"], "error: argument ID: invalid int value: 'x'. See `nordiq-watch reloads --help`.\n"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == line


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["frobnicate"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(command in error for command in COMMANDS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"nordiq-watch {__version__}\n"


FailWith = Callable[[BaseException], int]


class TestFailures:
    @pytest.fixture
    def fail_with(self, monkeypatch: pytest.MonkeyPatch) -> FailWith:
        """Makes `models` raise."""

        def arrange(error: BaseException) -> int:
            def raise_error(_: object) -> int:
                raise error

            monkeypatch.setattr("nordiq_watch.cli.admin.run", raise_error)
            return main(["models"])

        return arrange

    def test_an_own_error_is_one_line(self, fail_with: FailWith, capsys: pytest.CaptureFixture[str]) -> None:
        assert fail_with(ConfigError("config.yaml: server.port\nis wrong")) == main_module.FAILED
        assert capsys.readouterr().err == "error: config.yaml: server.port is wrong\n"

    def test_an_error_of_the_file_system_is_one_line(
        self, fail_with: FailWith, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fail_with(PermissionError(13, "Permission denied", "/data/x")) == main_module.FAILED
        assert capsys.readouterr().err == "error: /data/x: Permission denied\n"

    def test_an_interrupt_is_quiet(self, fail_with: FailWith, capsys: pytest.CaptureFixture[str]) -> None:
        assert fail_with(KeyboardInterrupt()) == main_module.INTERRUPTED
        assert capsys.readouterr().err == ""

    def test_a_bug_is_not_hidden(self, fail_with: FailWith) -> None:
        with pytest.raises(ZeroDivisionError):
            fail_with(ZeroDivisionError())


class TestProcess:
    def test_a_failure_is_an_exit_code_and_no_traceback(self) -> None:
        process = run_process("models", "--url", "nowhere")
        assert process.returncode == 1
        assert process.stderr == "error: nowhere: not an address; write it like http://127.0.0.1:8000\n"

    def test_a_reader_that_went_away_is_no_error(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.run(
            [sys.executable, "-m", "nordiq_watch", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert process.stderr == ""

    def test_help_loads_nothing_heavy(self) -> None:
        script = (
            "import sys\n"
            "from nordiq_watch.cli.main import build_parser\n"
            "build_parser()\n"
            "heavy = {'torch', 'numpy', 'pandas', 'flask', 'requests', 'rich', 'psutil', 'lightning'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert process.stdout == "[]\n"
