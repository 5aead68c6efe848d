"""What a training leaves in ``models/``, and how evaluation and inference take it up again.

``model.pt`` is the plain state dict of the best epoch, as the Model Zoo wants it. ``model.json`` beside it tells how it
was made: the recipe (network, preprocessing, spacing), the split, the epoch, its scores, the versions. Evaluation takes
the split from there, so the test part is the one that this very model never saw; inference takes network and
preprocessing from there, so it cannot be run with other ones than it was trained with.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scripts.errors import InputError
from scripts.files import read_json, write_aside, write_json
from scripts.runs import METRICS_FILE, merged_config, recorded_dir, run_dir, versions

logger = logging.getLogger(__name__)

MODEL_FILE = "model.pt"
ABOUT_FILE = "model.json"


class BestModel:
    """Evaluator handler: saves the weights and their description whenever validation is the best so far.

    Args:
        network: the network that is validated, wrapped or not; its unwrapped weights are saved.
        ckpt_dir: folder for ``model.pt`` and ``model.json``.
        datalist: the split that this training uses.
        run_dir: the run's folder, for later reports.
    """

    def __init__(self, network: nn.Module, ckpt_dir: str, datalist: Mapping[str, Any], run_dir: str) -> None:
        self.network = network
        self.folder = Path(ckpt_dir)
        self.about = {
            "label_scheme": datalist["label_scheme"],
            "run_dir": str(Path(run_dir).resolve()),
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
        # A repeated epoch may be worse than it was before the stop, when it wrote the model that is there.
        if state.best_metric_epoch != state.epoch or state.metrics[state.key_metric_name] < state.best_metric:
            return
        metrics = {name: float(value) for name, value in state.metrics.items()}
        with write_aside(self.folder / MODEL_FILE) as aside:
            torch.save(unwrapped(self.network).state_dict(), aside)
            digest = sha256(aside)
        # Two files cannot be renamed as one: the digest tells a pair that a killed process left mismatched.
        about = {"epoch": state.epoch, "metrics": metrics, "sha256": digest, **self.about}
        write_json(self.folder / ABOUT_FILE, about)


def load_weights(network: nn.Module, file: str | os.PathLike[str]) -> None:
    """Load a checkpoint into ``network``; nothing is changed unless everything fits.

    Raises:
        InputError: there is no such file, it is no checkpoint, or its weights are another network's.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(
            f"{file}: there is no trained model; run configs/train.json first, or point ckpt_dir at the folder of one."
        )
    remedy = "leave out the override of network_def, or point ckpt_dir at a model of that network"
    state = read_weights(network, file, remedy)
    unwrapped(network).load_state_dict(state)
    logger.info("loaded %s", file)


def read_weights(network: nn.Module, file: Path, remedy: str) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint, on the CPU, once every tensor is known to be one of ``network``'s.

    Args:
        network: wrapped or not.
        file: a state dict, or a checkpoint with a ``model`` entry.
        remedy: what to do about the weights of another network.

    Raises:
        InputError: the file is no checkpoint, not the one its description tells of, or another network's.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{file}: is not a readable PyTorch checkpoint; train again or restore the file.") from error
    about = file.with_name(ABOUT_FILE)
    if file.name == MODEL_FILE and about.is_file() and trained(str(file.parent), "sha256") != sha256(file):
        raise InputError(
            f"{file}: is not the file that {about.name} beside it describes; restore the pair, or train again."
        )
    state = state.get("model", state) if isinstance(state, Mapping) else {}
    wanted = unwrapped(network).state_dict()
    misfits = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    surplus = [key for key in state if key not in wanted]
    if misfits or surplus:
        raise InputError(
            f"{file}: holds the weights of another network ({len(misfits)} of {len(wanted)} tensors are absent or of "
            f"another shape, {len(surplus)} are unknown, first '{(misfits + surplus)[0]}'); {remedy}."
        )
    return dict(state)


def sha256(file: Path) -> str:
    """Digest of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside a distributed wrapper or an average, or itself: saved names carry no ``module.`` prefix."""
    return network.module if isinstance(network, (nn.parallel.DistributedDataParallel, AveragedModel)) else network


def trained(ckpt_dir: str, entry: str) -> Any:
    """One entry of ``model.json``, such as ``datalist``, ``label_scheme`` or ``run_dir``.

    Raises:
        InputError: no training has finished in ``ckpt_dir``, or its ``model.json`` lacks the entry.
    """
    file = Path(ckpt_dir) / ABOUT_FILE
    if not _is_trained(ckpt_dir):
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

    Raises:
        InputError: there are weights without the recipe of their training, which may have been another.
    """
    parser = ConfigParser()
    if _is_trained(ckpt_dir):
        parser.read_config(trained(ckpt_dir, "recipe"))
    else:
        parser.read_config(str(Path(bundle_root) / "configs" / "train.json"))
    return parser.get_parsed_content(section)


def trained_scheme(ckpt_dir: str, label_scheme: str) -> str:
    """The scheme to write labels in: ``label_scheme`` itself, or the training's where it says ``trained``.

    Before any training there is nothing to write; Decathlon's scheme stands in, so that the config can be checked.

    Raises:
        InputError: there are weights without what tells of their training.
    """
    if label_scheme != "trained":
        return label_scheme
    return trained(ckpt_dir, "label_scheme") if _is_trained(ckpt_dir) else "msd"


def _is_trained(ckpt_dir: str) -> bool:
    if (Path(ckpt_dir) / ABOUT_FILE).is_file():
        return True
    if (Path(ckpt_dir) / MODEL_FILE).is_file():
        raise InputError(
            f"{ckpt_dir}: has {MODEL_FILE} but no {ABOUT_FILE}, which says spacing, patch size and what the labels "
            f"mean; copy {ABOUT_FILE} from the folder that the model was trained in."
        )
    return False


def evaluation_dir(ckpt_dir: str, output_dir: str, run_name: str | int | None) -> str:
    """Run folder of an evaluation, absolute: the training's own, so that one report tells it all, or a named one.

    Raises:
        InputError: the named folder is that of another training.
    """
    own = Path(trained(ckpt_dir, "run_dir"))
    if run_name is None:
        return recorded_dir(own, output_dir)
    named = Path(run_dir(output_dir, run_name))
    if named != own and (named / METRICS_FILE).exists():
        raise InputError(f"{named}: is the folder of another training than this model's; choose another run_name.")
    return str(named)
