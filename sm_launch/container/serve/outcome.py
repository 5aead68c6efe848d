"""What a run of a config left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from ignite.engine import Engine
from monai.utils import CommonKeys


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        files: written into the output folder, by name.
        pred: the evaluator's prediction after postprocessing, without the batch's axis; None if it keeps none.
    """

    files: tuple[Path, ...]
    pred: torch.Tensor | None


def prediction(engine: Engine | None) -> torch.Tensor | None:
    """The last prediction of an evaluator that keeps it, of a batch of one."""
    output = getattr(getattr(engine, "state", None), "output", None)
    case = output[0] if isinstance(output, list) and output else output
    pred = case.get(CommonKeys.PRED) if isinstance(case, Mapping) else None
    if not isinstance(pred, torch.Tensor):
        return None
    return pred if isinstance(output, list) or pred.ndim == 0 else pred[0]
