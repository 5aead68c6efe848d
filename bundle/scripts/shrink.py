"""Half the size of a trained model, to hand it on: ``python -m scripts.shrink --model M --output O``, from ``bundle/``.

The result is a state dict in half precision, which the knob ``initial_weights``, evaluation and inference read as they
read ``model.pt``.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from scripts.errors import InputError, one_sentence
from scripts.files import write_aside


def shrink(model: Path, output: Path) -> float:
    """Write the weights of ``model`` in half precision.

    Args:
        model: a state dict, or a checkpoint with a ``model`` entry.
        output: the file to write.

    Returns:
        The largest change of a weight, relative to the largest weight of its tensor; 0 where there is no weight.

    Raises:
        InputError: ``model`` is absent or no checkpoint, a weight is beyond the range of half precision, or ``output``
            cannot be written.
    """
    if not model.is_file():
        found = "is a folder" if model.is_dir() else "there is no such file"
        raise InputError(f"{model}: {found}; give the model.pt of a training.")
    try:
        state = torch.load(model, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{model}: is not a readable PyTorch checkpoint; give a model.pt.") from error
    state = state.get("model", state) if isinstance(state, Mapping) else {}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{model}: holds no state dict of a network; give a model.pt.")
    small = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    beyond = [name for name, value in small.items() if value.is_floating_point() and not value.isfinite().all()]
    if beyond:
        raise InputError(
            f"{model}: '{beyond[0]}' has values beyond half precision, whose largest is 65504; keep the model as it is."
        )
    # A tensor without an element has no largest weight.
    changes = [
        float((value - small[name].to(value.dtype)).abs().max() / value.abs().max().clamp(min=1e-12))
        for name, value in state.items()
        if value.is_floating_point() and value.numel()
    ]
    with write_aside(output) as aside:
        # Names, order and shapes alone besides the values: no optimiser, no metadata, no code.
        torch.save({name: value.clone() for name, value in small.items()}, aside)
    return max(changes, default=0.0)


def main(argv: list[str] | None = None) -> int:
    """``python -m scripts.shrink``."""
    parser = argparse.ArgumentParser(prog="python -m scripts.shrink", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="model.pt of a training")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    options = parser.parse_args(argv)

    def run() -> int:
        change = shrink(options.model, options.output)
        before, after = (file.stat().st_size / 1e6 for file in (options.model, options.output))
        print(
            f"{options.output}: {after:.1f} MB instead of {before:.1f}; relative change of weights {change:.1e} at most"
        )
        return 0

    return one_sentence(run)


if __name__ == "__main__":
    sys.exit(main())
