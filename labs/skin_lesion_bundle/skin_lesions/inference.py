"""What a trained model says of pictures: one JSON file a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from skin_lesions.answers import require_finite
from skin_lesions.calibration import UNCALIBRATED, calibrated
from skin_lesions.checkpoints import trained
from skin_lesions.classes import PLAIN_NAMES
from skin_lesions.errors import InputError
from skin_lesions.files import write_json
from skin_lesions.ham10000 import find_pictures
from skin_lesions.synthetic import resolve


def pictures(dataset_dir: str) -> list[dict[str, str]]:
    """Items of the pictures in a folder and in the folders in it, ``image`` and ``name``, sorted by path.

    Args:
        dataset_dir: the folder, or the word ``synthetic``.

    Raises:
        InputError: there is no such folder, no picture in it, or two of one name.
    """
    folder = resolve(dataset_dir)
    found = find_pictures(folder)
    if not found:
        raise InputError(
            f"{folder}: holds no picture, .jpg, .jpeg or .png is wanted; set dataset_dir to another folder."
        )
    return [{"image": str(file), "name": name} for name, file in found.items()]


def answer(logits: torch.Tensor, temperature: float, classes: list[str]) -> dict[str, Any]:
    """The answer for one picture.

    Args:
        logits: of the classes, (K,).
        temperature: divides the logits for ``confidence`` (Guo et al. 2017, arXiv 1706.04599, section 4.2), which is
            how often such an answer is right; the probabilities are those of the network.
        classes: codes of the channels.
    """
    values = logits.detach().cpu().numpy()
    probabilities = calibrated(values, UNCALIBRATED)
    best = int(values.argmax())
    return {
        "class": classes[best],
        "name": PLAIN_NAMES[classes[best]],
        "probability": float(probabilities[best]),
        "confidence": float(calibrated(values, temperature)[best]),
        "probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
    }


class SaveAnswers:
    """Evaluator handler: writes ``<name>.json`` for each picture of a batch.

    Args:
        ckpt_dir: folder of ``model.json``, which has classes and temperature.
        output_dir: folder of the answers.
    """

    def __init__(self, ckpt_dir: str, output_dir: str) -> None:
        self.ckpt_dir = ckpt_dir
        self.folder = Path(output_dir)

    def attach(self, engine: Engine) -> None:
        """Register after each batch."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write.

        Raises:
            InputError: the network's answers are no finite numbers; none of the batch is written.
        """
        temperature, classes = trained(self.ckpt_dir, "temperature"), trained(self.ckpt_dir, "classes")
        answers = torch.stack([output["pred"] for output in engine.state.output])
        require_finite(answers.cpu().numpy(), self.ckpt_dir)
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            write_json(self.folder / f"{item['name']}.json", answer(output["pred"], temperature, classes))
