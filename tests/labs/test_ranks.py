"""The handler of lab 05 notes each case once, with the Dice that the bundle counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from labkit import batches, rank_memory
from labkit.ranks import NoteCases
from scripts.files import read_json


def masks(*filled: int) -> torch.Tensor:
    """Three regions of 2 x 2 x 2 voxels, so many of each filled."""
    return torch.stack([(torch.arange(8) < count).reshape(2, 2, 2).float() for count in filled])


def test_validation_notes_the_mean_dice_of_each_case(tmp_path: Path) -> None:
    outputs = [{"pred": masks(4, 4, 0), "label": masks(4, 8, 0)}, {"pred": masks(0, 0, 8), "label": masks(8, 0, 8)}]
    engine = Engine(lambda engine, index: [outputs[index]])

    def prepare(engine: Engine) -> None:
        # MONAI's engines split a batch into its cases before handlers see it.
        engine.state.batch = [{"case": f"case_{engine.state.batch}"}]

    engine.add_event_handler(Events.ITERATION_COMPLETED, prepare)
    NoteCases(tmp_path, "validation").attach(engine)
    engine.run([0, 1], max_epochs=2)
    notes = read_json(tmp_path / "validation_0.json", "notes")
    assert [(note["epoch"], note["case"]) for note in notes] == [
        (1, "case_0"),
        (1, "case_1"),
        (2, "case_0"),
        (2, "case_1"),
    ]
    # 1, 2 x 4 / 12 and, both empty, 1; 0, 1 and 1.
    assert [note["dice"] for note in notes[:2]] == pytest.approx([(1 + 2 / 3 + 1) / 3, 2 / 3])
    assert batches.own_cases(tmp_path, 0) == ["case_0", "case_1"]


def test_a_process_holds_sixteen_bytes_a_parameter() -> None:
    network = torch.nn.Conv3d(4, 3, 3)
    count = sum(parameter.numel() for parameter in network.parameters())
    held = rank_memory.state_of(network)
    assert held == pytest.approx({"weights": 4e-6 * count, "gradients": 4e-6 * count, "moments": 8e-6 * count})
