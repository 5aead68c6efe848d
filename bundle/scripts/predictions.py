"""Predictions as files: label volumes on the input's own grid, and the table of an evaluation."""

from __future__ import annotations

import dataclasses
import gzip
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Engine, Events

from scripts import distributed
from scripts.checkpoints import MODEL_FILE, sha256
from scripts.ensemble import Members
from scripts.files import write_aside
from scripts.inflate import gzip_runs
from scripts.rules import Rules
from scripts.score_tables import table, write_tables
from scripts.scores import score_case, voxel_size_mm

logger = logging.getLogger(__name__)


def image_files(item: Mapping[str, Any]) -> list[str]:
    """The image files of a data item: one 4-D file, or one a modality."""
    return [item["image"]] if isinstance(item["image"], str) else list(item["image"])


class SaveLabelMaps:
    """Evaluator handler: writes each case's prediction as ``<case>_seg.nii.gz``.

    Shape and affine are those of the case's image file, bit for bit.

    Args:
        cases: the data set's items, with ``case`` and the path or paths of ``image``.
        output_dir: folder of the label volumes.
        key: entry of the output that holds the label ids, (1, H, W, D) on the input's grid.
        probabilities: also write ``<case>_prob.nii.gz``, float32 (H, W, D, R), from the entry ``prob`` of the output.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        output_dir: str,
        key: str = "pred",
        probabilities: bool = False,
    ) -> None:
        self.cases = {item["case"]: item for item in cases}
        self.folder = Path(output_dir)
        self.key = key
        self.probabilities = probabilities

    def attach(self, engine: Engine) -> None:
        """Register after each case."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the cases of this batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            source = image_files(self.cases[item["case"]])[0]
            labels = output[self.key].as_tensor()[0]
            save_volume(labels.cpu().numpy(), source, label_file(self.folder, item["case"]))
            if self.probabilities:
                channels_last = output["prob"].as_tensor().movedim(0, -1).to(torch.float32)
                save_volume(channels_last.cpu().numpy(), source, self.folder / f"{item['case']}_prob.nii.gz")
            logger.info("%d/%d  %s", engine.state.iteration, engine.state.epoch_length, item["case"])


def label_file(folder: Path, case: str) -> Path:
    """Where the label volume of ``case`` is written."""
    return folder / f"{case}_seg.nii.gz"


def save_volume(volume: np.ndarray, like: str, target: Path) -> None:
    """Write ``volume`` as .nii.gz with the affine and its codes of the NIfTI file ``like``.

    Args:
        volume: (H, W, D) or (H, W, D, C); uint8 is taken for labels, which compress as runs.
        like: the file whose grid it is on.
        target: the file to write.
    """
    source = nib.load(like)
    image = nib.Nifti1Image(volume, source.affine)
    image.header.set_xyzt_units("mm")
    if isinstance(source, nib.Nifti1Image):
        image.set_sform(source.affine, int(source.header["sform_code"]))
        image.set_qform(source.get_qform(), int(source.header["qform_code"]))
    content = image.to_bytes()
    packed = gzip_runs(content) if volume.dtype == np.uint8 else gzip.compress(content, compresslevel=1, mtime=0)
    with write_aside(target) as aside:
        aside.write_bytes(packed)


class CaseTable:
    """Evaluator handler: scores each case on its native grid; writes cases.csv, cases.json and summary.json.

    Args:
        cases: the data set's items, with ``case`` and the paths of ``image`` and ``truth``.
        output_dir: folder of the tables.
        label_dir: where :class:`SaveLabelMaps` wrote the predictions.
        label_scheme: named in the summary.
        regions: channel order of prediction and truth.
        evaluate_on: named in the summary: which cases these are.
        rules: named in the summary: by which the predictions were decided on.
        members: the trainings that predict, whose weights the summary names by their digests.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        output_dir: str,
        label_dir: str,
        label_scheme: str,
        regions: Sequence[str],
        evaluate_on: str,
        rules: Rules,
        members: Members,
    ) -> None:
        self.cases = {item["case"]: item for item in cases}
        self.folder = Path(output_dir)
        self.label_dir = Path(label_dir)
        self.regions = tuple(regions)
        self.members = members
        self.about = {"label_scheme": label_scheme, "evaluate_on": evaluate_on, "rules": dataclasses.asdict(rules)}
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register at start, after each case and at the end."""
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def begin(self, _: Engine) -> None:
        """Forget the rows of an earlier run, and take the digests of the weights that are loaded now."""
        self.rows.clear()
        self.about["sha256"] = [sha256(Path(folder) / MODEL_FILE) for folder in self.members.folders]

    def score(self, engine: Engine) -> None:
        """Add the rows of this batch."""
        for batch_item, output in zip(engine.state.batch, engine.state.output, strict=True):
            item = self.cases[batch_item["case"]]
            masks = [output[key].as_tensor().cpu().numpy() for key in ("pred", "label")]
            # Of the truth, as scripts.evaluate does it, which may have no images.
            spacing_mm = voxel_size_mm(nib.load(item["truth"]).affine)
            files = {
                "image": image_files(item),
                "truth": item["truth"],
                "prediction": str(label_file(self.label_dir, item["case"]).resolve()),
            }
            self.rows.append({"case": item["case"]} | files | score_case(*masks, spacing_mm, self.regions))

    def write(self, engine: Engine) -> None:
        """Gather the rows of all processes and write the files on rank 0."""
        rows = distributed.gathered(self.rows)
        if distributed.rank() > 0:
            return
        logger.info("%s", table(write_tables(self.folder, rows, self.regions, self.about)))
