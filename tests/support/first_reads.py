"""Pairs of threads that read something for the first time in a process, run as a program by test_first_decode.py.

    python tests/support/first_reads.py NAME FOLDER TRIES

The parent writes what is to be read, and forks a child per try that has never read it. Prints how the children ended as
JSON, exit code → count; a negative code is the number of a signal.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from nordiq_watch.api.enums import ReloadState, ReloadTrigger
from nordiq_watch.artifact import manifest, signature, weights_file
from nordiq_watch.client import answers
from nordiq_watch.config.load import load_settings
from nordiq_watch.records.reloads import ReloadRecord, Stage
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.storage.decisions import Decisions, DecisionStore, Refusal, RefusalState
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.web import admin
from support import alerts, specs

Read = Callable[[], object]


def of_version(folder: Path) -> Read:
    """config.json, server_mapping.json and training_info.json, as the lookout and /metrics read them."""
    directory = specs.write_whole_directory(folder)
    return lambda: (manifest.read_spec(directory), manifest.read_mapping(directory), manifest.read_info(directory))


def of_weights(folder: Path) -> Read:
    directory = specs.write_whole_directory(folder)
    return lambda: weights_file.check_length(directory / "model.safetensors")


def of_signature(folder: Path) -> Read:
    directory = specs.write_whole_directory(folder)
    key = signature.make_private_key(folder / "key.pem")
    signature.sign_model(directory, key)
    hashes = {file.name: signature._hash_file(file) for file in directory.iterdir() if file.name != "signature.json"}
    trusted = signature.TrustedKeys([signature.show_public(key)])
    return lambda: trusted.check(directory, hashes)


def of_decisions(folder: Path) -> Read:
    refusal = Refusal(state=RefusalState.REJECTED, fingerprint="1", reason="NaN", at=1.0)
    (folder / "decisions.json").write_bytes(msgspec.json.encode(Decisions(pinned="a", refusals={"b": refusal})))
    return lambda: DecisionStore(folder / "decisions.json")


def of_reloads(folder: Path) -> Read:
    record = ReloadRecord(1, ReloadTrigger.API, None, ReloadState.FINISHED, 1.0, stages=(Stage("verify", 0.1),))
    (folder / "reloads.jsonl").write_bytes(msgspec.json.encode(record) + b"\n")
    return lambda: ReloadHistory(folder / "reloads.jsonl").recent()


def of_alerts(folder: Path) -> Read:
    store = HistoryStore(folder / "history.sqlite3", slot_seconds=300)
    store.add_changes(alerts.LIFE[:1])
    return store.unfinished


def of_config(folder: Path) -> Read:
    file = folder / "config.yaml"
    file.write_text("server: {port: 9000}\nmetrics: [cpu_user_pct]\n")
    return lambda: load_settings(file, {})


def of_request(folder: Path) -> Read:
    return lambda: admin._parse_reload(b'{"model_path": "a"}')


def of_answers(folder: Path) -> Read:
    body = {"predictions": {"a": {"cpu_user_pct": {"current": 1.0, "p50": [1.0]}, "alert": {"level": "healthy"}}}}
    return lambda: answers.read_forecast(body)


READS = {
    "version": of_version,
    "weights": of_weights,
    "signature": of_signature,
    "decisions": of_decisions,
    "reloads": of_reloads,
    "alerts": of_alerts,
    "config": of_config,
    "request": of_request,
    "answers": of_answers,
}


def race(read: Read) -> int:
    """The exit code of a child in which two threads read at once; 1 where a read failed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.setswitchinterval(1e-6)
    together, done = threading.Barrier(2), []

    def run() -> None:
        together.wait()
        read()
        done.append(True)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os._exit(0 if len(done) == 2 else 1)


if __name__ == "__main__":
    name, folder, tries = sys.argv[1:]
    read = READS[name](Path(folder))
    sys.stdout.write(json.dumps(Counter(race(read) for _ in range(int(tries)))))
