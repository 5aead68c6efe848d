"""The ``initial_weights`` knob: a training that starts from weights learnt before instead of random ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts import distributed
from scripts.checkpoints import read_weights, sha256
from scripts.errors import InputError

logger = logging.getLogger(__name__)


def initial_network(network: nn.Module, initial_weights: str | None, state: Mapping[str, Any]) -> nn.Module:
    """``network`` with the weights that its training begins with, before anything wraps or copies it.

    Rank 0 alone reads the file, so the other machines need not share the folder. Weights stored in half precision
    become float32, which training needs; the file's digest is logged, and its path is in the run's config.json.

    Args:
        network: filled in place.
        initial_weights: a state dict, or a checkpoint with a ``model`` entry; None leaves the weights random.
        state: what :func:`scripts.resume.state_to_resume` found; a training that goes on takes its weights from there.

    Raises:
        InputError: there is no such file, it is no checkpoint, or it is another network's.
    """
    if initial_weights is None or state:
        return network
    weights = distributed.from_rank_zero(lambda: _read(network, Path(initial_weights)))
    network.load_state_dict(weights)
    return network


def _read(network: nn.Module, file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise InputError(
            f"initial_weights {file}: there is no such file; give a model.pt, or null to start from random weights."
        )
    weights = read_weights(
        network, file, "give those of the same network_def, modalities and regions, or set initial_weights to null"
    )
    logger.info("initial weights: %s (sha256 %s)", file, sha256(file))
    return weights
