"""Several trainings as one model: the mean of their probabilities, as of the folds of a cross-validation.

Each member predicts the whole volume, flips and all, and its probabilities are averaged with those of the others. One
network holds the members' weights in turn, so a case needs the memory of one member and one volume of probabilities
more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from scripts import checkpoints
from scripts.checkpoints import MODEL_FILE, load_weights, trained, unwrapped
from scripts.errors import InputError
from scripts.runs import METRICS_FILE, run_dir

# Sections of the recipe that the members share, with all that these refer to, such as the spacing.
SHARED = ("modalities", "regions", "patch_size", "size_multiple", "deterministic_transforms", "network_def")
# Longest value, in characters, that is shown in a message.
SHOWN = 60


class Members:
    """The trainings that predict together, one or several.

    Args:
        ckpt_dir: folder of ``model.pt`` and ``model.json``, or a list of such.

    Raises:
        InputError: there is none, one is named twice, or two do not fit together.
    """

    def __init__(self, ckpt_dir: str | Sequence[str]) -> None:
        self.folders = folders(ckpt_dir)
        self._weights: list[dict[str, torch.Tensor]] = []
        for other in self.folders[1:]:
            refuse_misfit(self.first, other)

    @property
    def first(self) -> str:
        """The member whose recipe is that of all."""
        return self.folders[0]

    def load(self, network: nn.Module) -> None:
        """Load the weights into ``network``; those of several are kept in main memory, and it ends with the last's.

        Raises:
            InputError: a file is absent, damaged or of another network.
        """
        self._weights = []
        for folder in self.folders:
            load_weights(network, Path(folder) / MODEL_FILE)
            if len(self.folders) > 1:
                state = unwrapped(network).state_dict()
                self._weights.append({name: value.detach().cpu().clone() for name, value in state.items()})

    def logits(self, network: nn.Module, predict: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What the members predict together: the logit of the mean of their probabilities, (B, R, H, W, D), float32.

        A logit, so that all that follows takes it as one network's.

        Args:
            network: holds the members' weights in turn.
            predict: logits of one member, (B, R, H, W, D), by ``network``.
        """
        if len(self.folders) == 1:
            return predict()
        total: torch.Tensor | None = None
        for weights in self._weights:
            unwrapped(network).load_state_dict(weights)
            # Autocast remembers weights in low precision by the tensor that held them, whose values have changed.
            torch.clear_autocast_cache()
            probabilities = torch.sigmoid(predict().float())
            total = probabilities if total is None else total.add_(probabilities)
        return torch.logit(total.div_(len(self._weights)))


class LoadMembers:
    """Evaluator handler: loads the trained weights of all members before the first case.

    Args:
        network: the network to fill.
        members: the trainings.
    """

    def __init__(self, network: nn.Module, members: Members) -> None:
        self.network = network
        self.members = members

    def attach(self, engine: Engine) -> None:
        """Register at the start of the run."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load."""
        self.members.load(self.network)


def folders(ckpt_dir: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """The knob ``ckpt_dir`` as a list.

    Raises:
        InputError: it is empty, or has a folder twice, which would count twice in the mean.
    """
    found = [str(folder) for folder in ([ckpt_dir] if isinstance(ckpt_dir, str | os.PathLike) else ckpt_dir)]
    if not found or len({Path(folder).resolve() for folder in found}) < len(found):
        raise InputError(f"ckpt_dir is {found}, but different folders of trained models are wanted; correct the list.")
    return found


def refuse_misfit(first: str, other: str) -> None:
    """Refuse two trainings that cannot share one network, one preprocessing and one way of looking at a volume.

    Raises:
        InputError: they differ in a section of ``SHARED`` or in what it refers to.
    """
    recipes = [trained(folder, "recipe") for folder in (first, other)]
    for section in SHARED:
        wanted, found = (with_references(recipe, section) for recipe in recipes)
        for name in wanted | found:
            if wanted.get(name) != found.get(name):
                raise InputError(
                    f"{other}: has another {name} than {first}{_shown(found.get(name), wanted.get(name))}; name "
                    "trainings of one recipe as the members of an ensemble."
                )


def with_references(recipe: Mapping[str, Any], section: str) -> dict[str, Any]:
    """A top-level section of a config, and all others that it refers to by ``@name``, by name."""
    found: dict[str, Any] = {}
    waiting = [section]
    while waiting:
        name = waiting.pop()
        if name in recipe and name not in found:
            found[name] = recipe[name]
            waiting += re.findall(r"@(\w+)", json.dumps(recipe[name]))
    return found


def evaluation_dir(members: Members, output_dir: str, run_name: str | int | None) -> str:
    """Run folder of an evaluation: of one model as in :mod:`scripts.checkpoints`, of several one of their own.

    Raises:
        InputError: the ensemble's has no name, or it is the folder of a training.
    """
    if len(members.folders) == 1:
        return checkpoints.evaluation_dir(members.first, output_dir, run_name)
    if run_name is None:
        raise InputError(
            f"the evaluation of {len(members.folders)} models together belongs to no training's run folder; give it "
            "a run_name."
        )
    named = Path(run_dir(output_dir, run_name))
    if (named / METRICS_FILE).exists():
        raise InputError(f"{named}: is the folder of a training; choose another run_name for the ensemble.")
    return str(named)


def _shown(found: Any, wanted: Any) -> str:
    texts = [json.dumps(value) for value in (found, wanted)]
    return f" ({texts[0]}, not {texts[1]})" if max(map(len, texts)) <= SHOWN else ""
