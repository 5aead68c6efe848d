"""Predictions as files: label volumes on the input's own grid, and the table of an evaluation."""

from __future__ import annotations

import csv
import gzip
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events

from scripts import distributed
from scripts.files import write_aside, write_json
from scripts.inflate import gzip_runs
from scripts.labels import REGIONS
from scripts.metrics import region_dice, region_hd95_mm

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
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        output_dir: str,
        label_dir: str,
        label_scheme: str,
        regions: Sequence[str] = REGIONS,
    ) -> None:
        self.cases = {item["case"]: item for item in cases}
        self.folder = Path(output_dir)
        self.label_dir = Path(label_dir)
        self.label_scheme = label_scheme
        self.regions = tuple(regions)
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register at start, after each case and at the end."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.score)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def score(self, engine: Engine) -> None:
        """Add the rows of this batch."""
        for batch_item, output in zip(engine.state.batch, engine.state.output, strict=True):
            item = self.cases[batch_item["case"]]
            spacing_mm = [float(size) for size in nib.load(image_files(item)[0]).header.get_zooms()[:3]]
            masks = [output[key].as_tensor()[None].float().cpu() for key in ("pred", "label")]
            dice = region_dice(*masks)[0].tolist()
            hd95 = region_hd95_mm(*masks, spacing_mm)[0].tolist()
            voxel_ml = float(np.prod(spacing_mm)) / 1000
            volumes = [(mask[0].flatten(1).sum(1) * voxel_ml).tolist() for mask in masks]
            self.rows.append(
                {
                    "case": item["case"],
                    "image": image_files(item),
                    "truth": item["truth"],
                    "prediction": str(label_file(self.label_dir, item["case"]).resolve()),
                    "dice": dict(zip(self.regions, dice, strict=True)),
                    "hd95_mm": dict(zip(self.regions, hd95, strict=True)),
                    "truth_ml": dict(zip(self.regions, volumes[1], strict=True)),
                    "prediction_ml": dict(zip(self.regions, volumes[0], strict=True)),
                }
            )

    def write(self, engine: Engine) -> None:
        """Gather the rows of all processes and write the files on rank 0."""
        rows = self.rows
        if distributed.world_size() > 1:
            parts: list[Any] = [None] * distributed.world_size()
            dist.all_gather_object(parts, rows)
            rows = [row for part in parts for row in part]
        if distributed.rank() > 0:
            return
        rows = sorted(rows, key=lambda row: row["case"])
        write_json(self.folder / "cases.json", rows)
        summary = summarise(rows, self.regions) | {"label_scheme": self.label_scheme}
        write_json(self.folder / "summary.json", summary)
        flat = [flatten(row) for row in rows]
        with write_aside(self.folder / "cases.csv") as aside, aside.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.DictWriter(lines, fieldnames=list(flat[0]))
            writer.writeheader()
            writer.writerows(flat)
        logger.info("%s", table(summary))


def flatten(row: dict[str, Any]) -> dict[str, Any]:
    """One case as a flat row: ``case``, then ``dice_TC`` ... in the order of the measures and regions."""
    measures = ("dice", "hd95_mm", "truth_ml", "prediction_ml")
    return {"case": row["case"]} | {f"{m}_{region}": value for m in measures for region, value in row[m].items()}


def summarise(rows: Sequence[dict[str, Any]], regions: Sequence[str]) -> dict[str, Any]:
    """Means over cases for each region, and over regions as ``mean``."""
    summary: dict[str, Any] = {"n_cases": len(rows)}
    for measure in ("dice", "hd95_mm"):
        means = {region: float(np.mean([row[measure][region] for row in rows])) for region in regions}
        summary[measure] = means | {"mean": float(np.mean(list(means.values())))}
    return summary


def table(summary: dict[str, Any]) -> str:
    """The summary as a small text table: a row a region, Dice and HD95 in mm."""
    lines = [f"{summary['n_cases']} test cases", f"{'region':<8}{'Dice':>8}{'HD95 mm':>10}"]
    for region, dice in summary["dice"].items():
        lines.append(f"{region:<8}{dice:>8.4f}{summary['hd95_mm'][region]:>10.2f}")
    return "\n".join(lines)
