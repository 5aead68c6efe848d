"""Lab 10: the reader's bundle judged, a classifier that knows pictures by heart, and runs of the finished bundle."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from scipy.special import softmax
from scripts.files import read_json, write_json
from skin_lesions.classes import CLASSES
from skin_lesions.imbalance import oversampled
from skin_lesions.runs import METRICS_FILE
from skin_lesions.scores import score
from skin_lesions.synthetic import WORD, resolve

from .lesions import Entry
from .progress import Line
from .project import SKIN_BUNDLE

MODEL, CONFIG, METADATA = "model.pt", "train.json", "metadata.json"
MONAI_VERSION = "1.6.1"
# Pictures that are compared by heart, side in pixels.
HEART_SIDE = 16
PLAIN = "plain"
REMEDIES = ("weighted_sampler", "weighted_loss", "oversample")


def write_bundle(recipe: Mapping[str, Any], folder: Path) -> Path:
    """Write a bundle of one recipe: ``configs/train.json`` and the least that ``metadata.json`` may say.

    Returns:
        ``folder``.
    """
    about = {
        "version": "0.0.1",
        "monai_version": MONAI_VERSION,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "task": "tell seven kinds of skin lesion apart",
        "description": "written in lab 10",
    }
    write_json(folder / "configs" / CONFIG, recipe)
    write_json(folder / "configs" / METADATA, about)
    return folder


def judged(bundle: Path, dataset_dir: Path, entries: Sequence[Entry]) -> dict[str, Any]:
    """Scores of the best model of a bundle of :func:`write_bundle`, as ``skin_lesions.scores.score`` gives them.

    Args:
        bundle: its folder, with ``model.pt``.
        dataset_dir: the pictures' folder.
        entries: of the pictures to score.
    """
    with lean():
        parser = ConfigParser()
        parser.read_config(str(bundle / "configs" / CONFIG))
        network = parser.get_parsed_content("network").eval()
        network.load_state_dict(torch.load(bundle / MODEL, weights_only=True))
        prepare = parser.get_parsed_content("validate::val_data_loader::dataset::transform")
        pictures = [prepare({"image": str(dataset_dir / entry["image"])})["image"] for entry in entries]
        with torch.no_grad():
            logits = torch.cat([network(batch) for batch in torch.stack(pictures).split(32)])
    return score(_labels(entries), logits.double().softmax(1).numpy())


def by_heart(dataset_dir: Path, training: Sequence[Entry], entries: Sequence[Entry]) -> dict[str, Any]:
    """Scores of a classifier that has learned nothing: of each picture it knows the most alike of each class.

    Args:
        dataset_dir: the pictures' folder.
        training: what it knows by heart; of each class at least one.
        entries: of the pictures to score.
    """
    known, asked = (np.stack([_small(dataset_dir / entry["image"]) for entry in part]) for part in (training, entries))
    labels = _labels(training)
    distances = cdist(asked, known)
    nearest = np.stack([distances[:, labels == label].min(axis=1) for label in range(len(CLASSES))], axis=1)
    return score(_labels(entries), softmax(-nearest, axis=1))


@dataclass(frozen=True)
class Finished:
    """A run of the finished bundle, trained and evaluated.

    Attributes:
        name: of the run, ``plain`` or the remedy.
        run_dir: its run folder.
        ckpt_dir: folder of model.pt, model_last.pt and model.json.
    """

    name: str
    run_dir: Path
    ckpt_dir: Path

    def about(self) -> dict[str, Any]:
        """What model.json says."""
        return read_json(self.ckpt_dir / "model.json", "description of the model")


def finished_run(name: str, dataset_dir: Path, folder: Path, small: Mapping[str, Any]) -> Finished:
    """Train the finished bundle and evaluate it, in this process, which has imported everything already.

    Args:
        name: ``plain``, or a remedy of ``configs/imbalance/``.
        dataset_dir: as ``lesions.pictures`` gives it.
        folder: of runs/ and of models/NAME/.
        small: overrides that make it small.
    """
    remedy = [] if name == PLAIN else [f"imbalance/{name}.json"]
    places = {"output_dir": str(folder / "runs"), "ckpt_dir": str(folder / "models" / name)}
    data = {"dataset_dir": WORD if dataset_dir == resolve(WORD) else str(dataset_dir), "run_name": name}
    line = Line()
    line.show(f"{name}: training")
    with lean():
        _run(["train.json", *remedy], places | data | dict(small))
        _run(["train.json", "evaluate.json"], places)
    line.show(f"{name}: trained and evaluated", last=True)
    return Finished(name, folder / "runs" / name, folder / "models" / name)


def best_and_last(run: Finished) -> list[Any]:
    """Epochs, the best of them by validation AUC, that AUC, that of the last, and how often it fell."""
    lines = (run.run_dir / METRICS_FILE).read_text(encoding="utf-8").splitlines()
    areas = [json.loads(line)["val_auc"] for line in lines]
    falls = sum(after < before for before, after in pairwise(areas))
    return [len(areas), int(np.argmax(areas)) + 1, max(areas), areas[-1], falls]


def equal_epochs(epochs: int, images: Sequence[Entry]) -> int:
    """Epochs over the oversampled images that are as many steps as ``epochs`` over the images themselves."""
    return max(1, round(epochs * len(images) / len(oversampled(images))))


@contextmanager
def lean() -> Iterator[None]:
    """A small training in this process: no logs, one thread, and no records of what was done to a picture.

    Nobody inverts these transforms, and the records take most of the time. A second thread gains nothing on a few small
    pictures, and where other programs use the cores each step would wait for it.
    """
    tracked, threads = monai.data.get_track_meta(), torch.get_num_threads()
    monai.data.set_track_meta(False)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        monai.data.set_track_meta(tracked)
        torch.set_num_threads(threads)
        logging.disable(logging.NOTSET)


def _run(configs: Sequence[str], knobs: Mapping[str, Any]) -> None:
    workflow = ConfigWorkflow(
        config_file=[str(SKIN_BUNDLE / "configs" / config) for config in configs],
        logging_file=False,
        workflow_type="train",
        bundle_root=str(SKIN_BUNDLE),
        **knobs,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def _labels(entries: Sequence[Entry]) -> NDArray[np.int64]:
    return np.array([entry["label"] for entry in entries], dtype=np.int64)


def _small(file: Path) -> NDArray[np.float64]:
    """The picture as a short vector, 0 to 1."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").resize((HEART_SIDE, HEART_SIDE))
    return np.asarray(small, dtype=np.float64).ravel() / 255
