"""The small model that labs work with: the recipe of lab 02, small enough to be trained while one waits.

Lab 02 trains it in the open, step by step. Every other lab that needs a model calls :func:`trained`, so no lab depends
on another one's files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from scripts import phantom
from scripts.checkpoints import ABOUT_FILE, MODEL_FILE
from scripts.files import read_json, write_json
from scripts.splits import PARTS

from .commands import run
from .data import datalist, listed
from .project import BUNDLE, TRAIN, work

# At 3 mm a crop of 32 voxels sees 96 mm, most of a brain, at a sixteenth of the voxels of the bundle's own recipe. So
# small a network bears a learning rate ten times as high.
KNOBS: dict[str, Any] = {
    "spacing": [3.0, 3.0, 3.0],
    "patch_size": [32, 32, 32],
    "size_multiple": 8,
    "network_def::channels": [8, 16, 32, 64],
    "network_def::strides": [2, 2, 2],
    "network_def::num_res_units": 1,
    "learning_rate": 0.01,
    "warmup_epochs": 1,
    "image_interval": 0,
}
# What it takes to find whole tumours in cases that were held out.
STEPS = 160
VALIDATIONS = 5
MOST_TRAINING, MOST_HELD_OUT, HELD_OUT_SHARE = 16, 4, 0.2
RUN_NAME = "small"


@dataclass(frozen=True)
class Training:
    """The files of a training that is ready to start.

    Attributes:
        dataset_dir: where the cases are.
        folder: what belongs to the training: ``small.json``, ``datalist.json``, later the model and the run's folder.
        steps: optimiser steps in all, of whole epochs.
    """

    dataset_dir: Path
    folder: Path
    steps: int

    @property
    def knobs_file(self) -> Path:
        """The override that makes the bundle's recipe small."""
        return self.folder / "small.json"

    @property
    def datalist_file(self) -> Path:
        """The split."""
        return self.folder / "datalist.json"

    @property
    def run_dir(self) -> Path:
        """Where the training notes its metrics."""
        return self.folder / "runs" / RUN_NAME

    def counts(self) -> dict[str, int]:
        """Cases in each part of the split."""
        split = read_json(self.datalist_file, "datalist")
        return {part: len(split[part]) for part in PARTS}

    def command(self, *configs: str, **knobs: str) -> str:
        """The command that trains, as one types it in ``bundle/``.

        Args:
            configs: further overrides, files in ``bundle/``.
            knobs: further or other knobs of the command line.
        """
        data = {"dataset_dir": dataset_word(self.dataset_dir), "datalist_file": typed(self.datalist_file)}
        files = [TRAIN, typed(self.knobs_file), *configs]
        return bundle_command(files, **(data | self.places() | {"run_name": RUN_NAME} | knobs))

    def places(self) -> dict[str, str]:
        """The knobs that say where model and run folder are."""
        return {"ckpt_dir": typed(self.folder), "output_dir": typed(self.folder / "runs")}


def prepare(
    dataset_dir: Path, folder: Path, steps: int = STEPS, cases: int = MOST_TRAINING + 2 * MOST_HELD_OUT
) -> Training:
    """Write the split and the override of a small training.

    Args:
        dataset_dir: as :func:`labkit.data.dataset` gives it.
        folder: where the files go.
        steps: optimiser steps at least; they are filled up to whole epochs, of a step a training case.
        cases: the most to use, in all three parts.

    Raises:
        InputError: there are too few cases.
    """
    used = min(cases, len(listed(dataset_dir)))
    held_out = max(1, min(MOST_HELD_OUT, int(HELD_OUT_SHARE * used)))
    training = max(1, min(MOST_TRAINING, used - 2 * held_out))
    datalist(dataset_dir, folder, training=training, validation=held_out, test=held_out)
    epochs = math.ceil(steps / training)
    prepared = Training(dataset_dir, folder, epochs * training)
    write_json(prepared.knobs_file, KNOBS | {"epochs": epochs, "val_interval": max(1, epochs // VALIDATIONS)})
    return prepared


def trained(dataset_dir: Path) -> Path:
    """The folder of a small model: ``model.pt`` and ``model.json``.

    It is trained on first use, which takes about 25 s on 2 cores; labs that run at once wait for the first of them.

    Args:
        dataset_dir: as :func:`labkit.data.dataset` gives it.

    Returns:
        The folder; it also holds the training's ``datalist.json`` and ``runs/small``.

    Raises:
        CommandFailed: the training failed.
    """
    folder = work("model") / _key(dataset_dir)
    with FileLock(f"{folder}.lock"):
        if not ((folder / ABOUT_FILE).is_file() and (folder / MODEL_FILE).is_file()):
            aside = folder.with_name(f".part-{folder.name}")
            # The lock is held, so whatever lies there is of a training that was killed.
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            run(prepare(dataset_dir, aside).command())
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
    return folder


def bundle_command(configs: Sequence[str], **knobs: str) -> str:
    """``python -m monai.bundle run`` with config files and knobs, as one types it in ``bundle/``."""
    files = configs[0] if len(configs) == 1 else "[" + ",".join(f"'{file}'" for file in configs) + "]"
    word = shlex.quote(files) if len(configs) == 1 else f'"{files}"'
    words = " ".join(f"--{name} {shlex.quote(value)}" for name, value in knobs.items())
    return f"python -m monai.bundle run --config_file {word} {words}".rstrip()


def typed(path: Path) -> str:
    """A path as one types it in ``bundle/``: relative where that does not leave the project, with forward slashes.

    It is not quoted: :func:`bundle_command` does that, elsewhere ``commands.quoted``.
    """
    path = path.resolve()
    inside = path.is_relative_to(BUNDLE.parent)
    return Path(os.path.relpath(path, BUNDLE)).as_posix() if inside else path.as_posix()


def dataset_word(dataset_dir: Path) -> str:
    """What the ``dataset_dir`` knob takes: the word for the embedded data, or the folder."""
    return phantom.WORD if dataset_dir == phantom.default_dir() else typed(dataset_dir)


def _key(dataset_dir: Path) -> str:
    """A folder name for the data and the recipe: another of either is another model."""
    text = json.dumps([str(dataset_dir.resolve()), KNOBS, STEPS], sort_keys=True)
    return f"{dataset_dir.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
