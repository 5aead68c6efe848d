"""Running the skin lesion bundle's configs with a tiny network, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from skin_lesions.errors import InputError, find_input_error
from workflow import Job

BUNDLE = Path(__file__).resolve().parents[2] / "labs" / "skin_lesion_bundle"
SMALL = {
    "_target_": "DenseNet",
    "spatial_dims": 2,
    "in_channels": 3,
    "out_channels": 7,
    "init_features": 8,
    "growth_rate": 4,
    "block_config": [2, 2],
}
TINY = {"network_def": SMALL, "image_size": 32, "batch_size": 8, "epochs": 2}


def job(work: Path, *configs: str, kind: str = "train", **overrides: Any) -> Job:
    """A workflow whose every output lies under ``work``."""
    paths = {"bundle_root": str(BUNDLE), "output_dir": str(work / "runs"), "ckpt_dir": str(work / "models")}
    return Job(
        config_file=[str(BUNDLE / "configs" / config) for config in configs],
        logging_file=False,
        workflow_type=kind,
        **(paths | overrides),
    )


def run(made: Job) -> Job:
    """Initialise, run and finalise it."""
    made.initialize()
    made.run()
    made.finalize()
    return made


def refusal_of(made: Job) -> str:
    """The sentence that a run ends with."""
    with pytest.raises(Exception) as error:  # noqa: B017, MONAI wraps what a config raises
        run(made)
    found = find_input_error(error.value)
    assert isinstance(found, InputError), error.value
    return str(found)
