from __future__ import annotations

import errno
import json
import logging
import re
from pathlib import Path

import pytest
from support.settings import MakeSettings

from nordiq_watch.config.schema import LogSettings
from nordiq_watch.errors import ConfigError
from nordiq_watch.host.log_file import LogFile
from nordiq_watch.host.logs import check_log, configure_logging, tell_log_part
from nordiq_watch.parts import Parts

pytestmark = pytest.mark.usefixtures("untouched_logging")

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +\S+: .+")


def test_an_event_is_one_line_in_the_file_and_on_stderr(
    make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings()
    configure_logging(settings)
    logging.getLogger("nordiq_watch.reload.worker").info("%s is live after %.1f s", "tft_model_1", 0.5)
    (line,) = settings.log_file.read_text().splitlines()
    assert LINE.fullmatch(line)
    assert line.endswith(" reload.worker: tft_model_1 is live after 0.5 s")
    assert capsys.readouterr().err == line + "\n"


def test_the_directory_is_created(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings(logs=LogSettings(dir="var/deep/logs"))
    configure_logging(settings)
    assert settings.log_file == tmp_path / "var/deep/logs/inference_daemon.log"
    assert settings.log_file.is_file()


def test_the_level_is_the_packages_and_others_are_heard_from_warning_on(make_settings: MakeSettings) -> None:
    settings = make_settings(logs=LogSettings(level="DEBUG"))
    configure_logging(settings)
    logging.getLogger("nordiq_watch.web.app").debug("own detail")
    logging.getLogger("watchdog.observers").info("foreign detail")
    logging.getLogger("watchdog.observers").warning("foreign trouble")
    text = settings.log_file.read_text()
    assert "web.app: own detail" in text
    assert "foreign detail" not in text
    assert "watchdog.observers: foreign trouble" in text


def test_what_a_client_sent_cannot_begin_a_line(make_settings: MakeSettings) -> None:
    settings = make_settings()
    configure_logging(settings)
    logging.getLogger("nordiq_watch.web").warning("asked for %s", "a\nb\r\x1b[31m\u2028c")
    (line,) = settings.log_file.read_text().splitlines()
    assert line.endswith(r"asked for a\nb\r\x1b[31m\u2028c")


def test_a_traceback_follows_its_line(make_settings: MakeSettings) -> None:
    settings = make_settings()
    configure_logging(settings)
    try:
        raise ValueError("deep inside")
    except ValueError:
        logging.getLogger("nordiq_watch.web").exception("a request failed")
    text = settings.log_file.read_text()
    assert text.splitlines()[0].endswith("web: a request failed")
    assert "ValueError: deep inside" in text


def test_the_log_is_rotated_and_old_files_go(make_settings: MakeSettings) -> None:
    settings = make_settings(logs=LogSettings(max_mb=0.001, keep=2))
    configure_logging(settings)
    for number in range(100):
        logging.getLogger("nordiq_watch").info("event %d %s", number, "x" * 100)
    names = {file.name for file in settings.log_file.parent.iterdir()}
    assert names == {"inference_daemon.log", "inference_daemon.log.1", "inference_daemon.log.2"}
    assert "event 99" in settings.log_file.read_text()


def test_a_second_call_replaces_the_first(make_settings: MakeSettings, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(make_settings(logs=LogSettings(level="ERROR")))
    settings = make_settings(logs=LogSettings(level="INFO"))
    configure_logging(settings)
    logging.getLogger("nordiq_watch").info("once")
    assert settings.log_file.read_text().count("once") == 1
    assert capsys.readouterr().err.count("once") == 1


def test_a_place_that_cannot_be_written_is_one_line_with_key_and_cause(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("a file where the directory should be")
    with pytest.raises(
        ConfigError, match=r"^logs\.dir is 'logs', but .*inference_daemon\.log cannot be written \("
    ) as caught:
        configure_logging(make_settings())
    assert "\n" not in str(caught.value)


def test_a_directory_in_the_files_place_is_the_same_error(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "logs" / "inference_daemon.log").mkdir(parents=True)
    with pytest.raises(ConfigError, match="Is a directory"):
        configure_logging(make_settings())


def test_as_json_an_event_is_one_object_with_the_reload_it_is_about(make_settings: MakeSettings) -> None:
    settings = make_settings(logs=LogSettings(format="json"))
    configure_logging(settings)
    log = logging.getLogger("nordiq_watch.daemon")
    log.info("%s is live\n", "tft_model_1", extra={"reload": 7, "version": "tft_model_1"})
    try:
        raise ValueError("deep inside")
    except ValueError:
        log.exception("failed")
    live, failed = map(json.loads, settings.log_file.read_text().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", live.pop("time"))
    assert live == {
        "level": "INFO",
        "logger": "daemon",
        "event": "tft_model_1 is live\n",
        "reload": 7,
        "version": "tft_model_1",
    }
    assert "ValueError: deep inside" in failed["traceback"]


def test_a_cause_that_passes_stops_no_start_and_the_file_is_tried_again(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    part = Parts(hidden=(tmp_path,)).of("log")
    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "_open", refuse)
        with pytest.raises(ConfigError, match="No space left"):
            configure_logging(settings)
        configure_logging(settings, must_open=False)
        tell_log_part(part)
        logging.getLogger("nordiq_watch").info("to stderr only")
        assert part.status.reason == "inference_daemon.log cannot be written (No space left on device)"
    check_log()
    assert part.works
    logging.getLogger("nordiq_watch").info("to both")
    assert "to both" in settings.log_file.read_text()
    assert "to stderr only" not in settings.log_file.read_text()
    stderr = capsys.readouterr().err
    assert "to stderr only" in stderr
    assert stderr.count("the log does not work") == 1
