"""What a training leaves in ``models/``, and how evaluation and inference take it up again.

``model.pt`` is the plain state dict of the epoch with the best validation AUC: the one to deploy. ``model_last.pt`` is
that of the last epoch. ``model.json`` tells what ``model.pt`` is::

    {
      "epoch": 12, "metrics": {"val_auc": 0.91},
      "sha256": "...",                      of model.pt
      "temperature": 1.3,                   divides the logits; fitted on the validation part
      "classes": ["akiec", ...],            order of the output channels
      "image_size": 64,
      "run_dir": "...", "versions": {...},
      "datalist": {...},                    the split, as skin_lesions.splits describes it
      "recipe": {...}                       the merged config, network_def and deterministic_transforms in it
    }
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from torch import nn

from skin_lesions.classes import CLASSES
from skin_lesions.errors import InputError
from skin_lesions.files import read_json, write_aside, write_json
from skin_lesions.runs import merged_config, versions
from skin_lesions.temperature import FitTemperature

MODEL_FILE, LAST_FILE, ABOUT_FILE = "model.pt", "model_last.pt", "model.json"


class BestModel:
    """Evaluator handler: saves the weights and their description whenever validation is the best so far.

    Args:
        network: the network that is validated, unwrapped.
        ckpt_dir: folder for ``model.pt`` and ``model.json``.
        datalist: the split that this training uses.
        run_dir: the run's folder.
        image_size: side of the network's input in pixels.
        temperature: the handler before this one.
    """

    def __init__(
        self,
        network: nn.Module,
        ckpt_dir: str,
        datalist: Mapping[str, Any],
        run_dir: str,
        image_size: int,
        temperature: FitTemperature,
    ) -> None:
        self.network = network
        self.temperature = temperature
        self.folder = Path(ckpt_dir)
        self.about = {
            "classes": list(CLASSES),
            "image_size": image_size,
            "run_dir": run_dir,
            "versions": versions(),
            "datalist": dict(datalist),
            "recipe": merged_config(),
        }

    def attach(self, engine: Engine) -> None:
        """Register at the end of each validation."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if this validation set a new best."""
        state = engine.state
        if state.best_metric_epoch != state.epoch:
            return
        digest = save_weights(self.network, self.folder / MODEL_FILE)
        metrics = {name: float(value) for name, value in state.metrics.items()}
        # Two files cannot be renamed as one: the digest tells a pair that a killed process left mismatched.
        found = {"epoch": state.epoch, "metrics": metrics, "sha256": digest, "temperature": self.temperature.value}
        write_json(self.folder / ABOUT_FILE, found | self.about)


class LastModel:
    """Trainer handler: saves the weights of every epoch over those of the one before.

    Args:
        network: the network, unwrapped.
        ckpt_dir: folder for ``model_last.pt``.
    """

    def __init__(self, network: nn.Module, ckpt_dir: str) -> None:
        self.network = network
        self.file = Path(ckpt_dir) / LAST_FILE

    def attach(self, engine: Engine) -> None:
        """Register at the end of each epoch."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save."""
        save_weights(self.network, self.file)


class LoadModel:
    """Evaluator handler: loads ``model.pt`` when the evaluator starts, as MONAI's ``CheckpointLoader``, but checked.

    Args:
        network: the network.
        ckpt_dir: folder of ``model.pt`` and ``model.json``.
    """

    def __init__(self, network: nn.Module, ckpt_dir: str) -> None:
        self.network = network
        self.ckpt_dir = ckpt_dir

    def attach(self, engine: Engine) -> None:
        """Register at the start."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load."""
        load_weights(self.network, self.ckpt_dir)


def save_weights(network: nn.Module, file: Path) -> str:
    """Write the state dict, whole or not at all; return the file's SHA-256 in hexadecimal."""
    with write_aside(file) as aside:
        torch.save(network.state_dict(), aside)
        return _sha256(aside)


def load_weights(network: nn.Module, ckpt_dir: str) -> None:
    """Load ``model.pt`` into ``network``; nothing is changed unless everything fits.

    Raises:
        InputError: there is no model, it is not the one that ``model.json`` tells of, or another network's.
    """
    file = Path(ckpt_dir) / MODEL_FILE
    wanted_digest = trained(ckpt_dir, "sha256")
    try:
        digest = _sha256(file)
        state = torch.load(file, map_location="cpu", weights_only=True) if digest == wanted_digest else {}
    except (pickle.UnpicklingError, RuntimeError, OSError) as error:
        raise InputError(f"{file}: is not a readable PyTorch checkpoint; restore the file or train again.") from error
    if digest != wanted_digest:
        raise InputError(
            f"{file}: is not the file that {ABOUT_FILE} beside it describes; restore the pair or train again."
        )
    wanted = network.state_dict()
    misfits = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    if misfits or len(state) != len(wanted):
        raise InputError(
            f"{file}: holds the weights of another network ({len(misfits)} of {len(wanted)} tensors do not fit); leave "
            "out the override of network_def, or point ckpt_dir at a model of that network."
        )
    network.load_state_dict(state)


def trained(ckpt_dir: str, entry: str) -> Any:
    """One entry of ``model.json``.

    Raises:
        InputError: no training has saved a model in ``ckpt_dir``, or its ``model.json`` lacks the entry.
    """
    file = Path(ckpt_dir) / ABOUT_FILE
    if not file.is_file():
        raise InputError(
            f"{file}: there is no trained model; run configs/train.json first, or point ckpt_dir at the folder of one."
        )
    about = read_json(file, "description of the trained model")
    if entry not in about:
        raise InputError(f"{file}: has no entry '{entry}'; train again to write it anew.")
    return about[entry]


def from_recipe(ckpt_dir: str, bundle_root: str, section: str) -> Any:
    """Instantiate a section of the recipe that the model in ``ckpt_dir`` was trained with.

    Before any training this is the recipe in configs/train.json, so the network can be checked and exported.

    Args:
        ckpt_dir: folder of ``model.json``.
        bundle_root: folder of ``configs/``.
        section: id inside the config, with ``::`` between levels.
    """
    parser = ConfigParser()
    if (Path(ckpt_dir) / ABOUT_FILE).is_file():
        parser.read_config(trained(ckpt_dir, "recipe"))
    else:
        parser.read_config(str(Path(bundle_root) / "configs" / "train.json"))
    return parser.get_parsed_content(section)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
