"""The soak as a command, for a few seconds on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.__main__ import main

pytestmark = pytest.mark.slow


def test_a_short_soak_is_stood(
    tiny_version: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three rounds with a killed decoder each, and the death of an engine."""
    monkeypatch.setenv("SGE_MODEL_STORE", str(tiny_version.parents[1]))
    monkeypatch.setenv("SGE_ENGINE", "eager")

    code = main(["--minutes", "0.15", "--round-s", "3"])

    said = capsys.readouterr().out
    assert code == 0, said
    assert "1 deaths, 0 wrong" in said
    assert said.count("held  ") == 7
