from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nordiq_watch.cli.main import build_parser, main


def script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_command_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = script_for(shell, capsys)
    _, owners = build_parser()
    assert [command for command in owners if command not in script] == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [(["re"], {"reload", "reloads"}), (["reload", "--fo"], {"--follow"}), (["completion", "z"], {"zsh"})],
)
def test_bash_completes(
    words: list[str], offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As bash does it: the function that the script names is called with the words so far."""
    script = tmp_path / "completion"
    script.write_text(script_for("bash", capsys))
    typed = " ".join(f'"{word}"' for word in ("nordiq-watch", *words))
    program = f"""
source {script}
COMP_WORDS=({typed}); COMP_CWORD={len(words)}
function=$(complete -p nordiq-watch | sed -E 's/.*-F ([^ ]+).*/\\1/')
"$function" nordiq-watch "{words[-1]}" "{words[-2] if len(words) > 1 else "nordiq-watch"}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered
