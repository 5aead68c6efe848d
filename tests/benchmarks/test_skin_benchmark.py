"""benchmarks/skin_lesions_benchmark.py: a side is trained for its budget and scored; what is kept is told."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from forked import LEAN
from scripts.errors import InputError
from tiny_ham10000 import write_tiny_ham10000

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
skin = importlib.import_module("skin_lesions_benchmark")


def test_a_side_is_trained_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", LEAN["PYTHONPATH"])
    monkeypatch.setitem(skin.SIDES, skin.OURS, [skin.TRAIN, "configs/network/resnet18.json"])
    data = write_tiny_ham10000(tmp_path / "data", lesions=5, images=1)
    planned = iter([3, 1])
    monkeypatch.setattr(skin, "epochs_of", lambda side, budget_s, epoch_s: next(planned))
    budget = skin.Budget(data, minutes=0.001, threads=1, seed=3)
    found = skin.run_side(skin.OURS, budget, tmp_path / "work")
    log = tmp_path / "work" / "runs" / skin.OURS / "metrics.jsonl"
    spent = [json.loads(line)["cpu_seconds"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(spent) == found["epochs"] == 1, "three exceeded the budget"
    assert found["minutes_used"] == spent[-1] / 60
    assert found["summary"]["n_images"] == 7 and 0 <= found["summary"][skin.MACRO_AUC] <= 1


def test_a_budget_is_whole_epochs() -> None:
    assert skin.epochs_of(skin.OURS, 600.0, 35.0) == 17
    with pytest.raises(InputError, match="an epoch takes 5 CPU seconds, but 4 are given; raise them"):
        skin.epochs_of(skin.OURS, 4.0, 5.0)


def test_what_is_kept_is_told(tmp_path: Path) -> None:
    sides = {
        side: {"epochs": 3, "minutes_used": 4.9, "wall_minutes": 5.6, "summary": {skin.MACRO_AUC: auc}}
        for side, auc in ((skin.OURS, 0.9), (skin.PUBLISHED, 0.7))
    }
    kept = {"minutes": 5, "threads": 2, "seed": 42, "sides": sides, "compared": "a table\n"}
    file = tmp_path / "5min-seed42.json"
    file.write_text(json.dumps(kept))
    lines = skin.text(file).splitlines()
    assert lines[-1] == "DIFFERENCE ours-published macro AUC +0.200, its interval above"
    assert lines[2] == "ours         3 epochs, 4.90 min (5.60 by the clock), macro AUC 0.900"
    assert lines[-2] == "WANTED macro AUC of at least 0.8: met" and "a table" in lines
    sides[skin.OURS]["summary"][skin.MACRO_AUC] = 0.79
    file.write_text(json.dumps(kept))
    assert "missed" in skin.text(file)
