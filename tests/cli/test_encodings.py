from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

NAME = "büro–1 😀 中"


def run(code: str, encoding: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", f"name = {NAME!r}\n{code}"]
    environ = os.environ | {"PYTHONIOENCODING": encoding}
    return subprocess.run(command, env=environ, capture_output=True, check=False, timeout=120)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_json_holds_the_same_name_in_every_encoding(encoding: str) -> None:
    code = "from nordiq_watch.cli.encodings import *; import json\nreplace_unknown_characters()\n"
    done = run(code + "print_json(json.dumps({name: [name]}, ensure_ascii=False))", encoding)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding)) == {NAME: [NAME]}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_table_has_replaced_characters_and_no_traceback(encoding: str) -> None:
    code = (
        "import sys; from nordiq_watch.cli import main\n"
        "sys.argv[1:] = ['verify', name]\n"
        "from nordiq_watch.cli.terminal import *\n"
        "def show(argv):\n"
        "    print_table(name, ('server',), [(name,)], console=open_console())\n"
        "    return 0\n"
        "main.main = show\n"
        "main.run()\n"
    )
    done = run(code, encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "ro" in done.stdout.decode(encoding)
    assert "?" in done.stdout.decode(encoding)
