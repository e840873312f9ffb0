"""A daemon that trusts one key: an unsigned drop never answers, a signed one goes live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import METRICS, drop_model, tiny_spec

from nordiq_watch.cli.main import main

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


def test_only_what_is_signed_goes_live(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = tmp_path / "signing.pem"
    assert main(["sign", "--new-key", str(private)]) == 0
    public = capsys.readouterr().out.strip()
    length = tiny_spec().max_encoder_length
    sections: dict[str, Any] = {
        "models": {"trusted_keys": [public]},
        "window": {"length": length},
        "training": {"max_encoder_length": length},
    }
    first = drop_model(tmp_path / "shelf", A)
    assert main(["sign", str(first), "--key", str(private)]) == 0
    with DaemonProcess(tmp_path / "site", metrics=METRICS, **sections) as daemon:
        first.rename(daemon.models / A)
        daemon.wait_for_live(A)
        drop_model(daemon.models, B)
        wait_until(lambda: daemon.state_of(B)[0] == "rejected", what="the unsigned one to be rejected")
        assert "it is not signed" in daemon.state_of(B)[1]
        assert daemon.model_info()["model_name"] == A
        assert main(["sign", str(daemon.models / B), "--key", str(private)]) == 0
        daemon.wait_for_live(B)
    assert main(["verify", str(daemon.models / B), "--config", str(daemon.config_file)]) == 0
    (daemon.models / B / "signature.json").unlink()
    assert main(["verify", str(daemon.models / B), "--config", str(daemon.config_file)]) == 1
    assert "check: signature" in capsys.readouterr().err


def test_what_a_setting_kept_away_goes_live_under_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "signing.pem"
    main(["sign", "--new-key", str(private)])
    right, wrong = capsys.readouterr().out.strip(), "A" * 43 + "="
    length = tiny_spec().max_encoder_length
    sections: dict[str, Any] = {"window": {"length": length}, "training": {"max_encoder_length": length}}
    with DaemonProcess(tmp_path / "site", metrics=METRICS, models={"trusted_keys": [wrong]}, **sections) as daemon:
        main(["sign", str(drop_model(daemon.models, A)), "--key", str(private)])
        wait_until(lambda: daemon.state_of(A)[0] == "rejected", what="the version to be rejected")
        assert "which models.trusted_keys does not have" in daemon.state_of(A)[1]
        daemon.stop()
        daemon.config_file.write_text(daemon.config_file.read_text().replace(wrong, right))
        daemon.start()
        daemon.wait_for_live(A)


def test_what_cannot_be_signed_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = tmp_path / "signing.pem"
    main(["sign", "--new-key", str(private)])
    (tmp_path / A).mkdir()
    assert main(["sign", str(tmp_path / A), "--key", str(private)]) == 1
    assert "is not complete and was not signed" in capsys.readouterr().err
    assert main(["sign", "--key", str(private)]) == 1
    assert main(["sign", "--new-key", str(private)]) == 1
    assert "File exists" in capsys.readouterr().err
