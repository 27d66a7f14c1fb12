"""The table that `make demo` ends in."""

import json
from pathlib import Path

import pytest

from fieldsight.pipelines import _demo
from fieldsight.pipelines._errors import CommandError


def test_every_application_has_its_figures_with_interval_and_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {
        "test_accuracy": 0.975,
        "test_accuracy_low": 0.95,
        "test_accuracy_high": 0.9875,
        "baseline_test_accuracy": 0.925,
        "test_loss": 0.1,
        "seconds": 31.0,
        "run": "abc",
    }
    (tmp_path / "digits.json").write_text(json.dumps(figures))
    other = {"test_recall": 0.5, "test_recall_low": 0.25, "test_recall_high": 0.75}
    (tmp_path / "lung.json").write_text(json.dumps(other))
    assert _demo.main([str(tmp_path / "digits.json"), str(tmp_path / "lung.json")]) == 0
    # What stands between the table's lines: heavy ones around the head, light ones below it.
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["digits", "accuracy", "0.9750", "0.9500 to 0.9875", "0.9250"],
        ["lung", "recall", "0.5000", "0.2500 to 0.7500", ""],
    ]


def test_what_is_no_json_is_said(tmp_path: Path) -> None:
    (tmp_path / "digits.json").write_text("Traceback")
    with pytest.raises(CommandError, match=r"digits\.json: one JSON object was needed"):
        _demo.main([str(tmp_path / "digits.json")])


def test_of_many_figures_the_headlines_are_shown() -> None:
    figures = {
        f"test_{name}{end}": 0.5 for name in ("f2", "precision") for end in ("", "_low", "_high")
    }
    assert len(_demo.rows("forest", figures)) == 2
    shown = _demo.rows("forest", {**figures, "headline": ["test_f2", "test_nothing"]})
    assert [row[1] for row in shown] == ["f2"]
