"""How sure a prediction is of itself: a map for each region and, for each case, the Dice that it expects.

Map: the binary entropy of the probability, in bits, 0 to 1, which for the mean over an ensemble is its predictive
entropy (Gal 2016, Uncertainty in Deep Learning, section 3.3). Mehta et al. 2022 (QU-BraTS, arXiv 2112.10074) score such
maps for TC, WT and ET, scaled to 0 to 100.

Number: were each voxel tumour with its probability p, independently, the ratio of expectations

    2 sum(p m) / (sum(p) + sum(m))

would estimate the Dice of the mask m that was decided on. It needs no truth, and it orders cases by how much a reader
should distrust them; how well, scripts.calibration tells. A probability that is wrong by much is believed all the same.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from scripts import distributed
from scripts.files import write_aside
from scripts.labels import REGIONS
from scripts.native import PROBABILITIES, voxel_mm3
from scripts.postprocessing import region_masks
from scripts.predictions import image_files, save_volume
from scripts.rules import Rules

TABLE_FILE = "uncertainty.csv"


def entropy_bits(probability: torch.Tensor) -> torch.Tensor:
    """Entropy of a yes or no of that probability, in bits: 1 at 0.5, 0 at 0 and 1; of any shape."""
    # xlogy is 0 at 0, where the logarithm is not finite.
    nats = torch.xlogy(probability, probability) + torch.xlogy(1 - probability, 1 - probability)
    return (nats / -torch.log(torch.tensor(2.0, device=probability.device))).clamp_(0, 1)


def expected_dice(probabilities: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Dice of each region that the probabilities expect for the masks decided on.

    Where nothing was found, Dice is 1 if the truth is empty too and 0 if not (BraTS). The chance of an empty truth is
    at most 1 - max(p), and just that if all of a lesion is there or none of it, which is nearer to lesions than
    independent voxels are.

    Args:
        probabilities: (R, H, W, D).
        masks: bool or 0/1, of the same shape.

    Returns:
        float64 (R,), 0 to 1.
    """
    axes = (1, 2, 3)
    found = masks.sum(axes, dtype=torch.float64)
    overlap = (probabilities * masks).sum(axes, dtype=torch.float64)
    ratio = 2 * overlap / (probabilities.sum(axes, dtype=torch.float64) + found).clamp(min=1e-12)
    return torch.where(found > 0, ratio, 1 - probabilities.amax(axes).to(torch.float64))


class SaveUncertainty:
    """Evaluator handler: writes ``<case>_unc.nii.gz``, a map for each region, and uncertainty.csv, a row for each case.

    Maps are float32 (H, W, D, R) on the image file's grid, in bits.

    Args:
        cases: the data set's items, with ``case`` and the path or paths of ``image``.
        output_dir: folder of the maps and the table.
        regions: channel order of the probabilities.
        rules: by which the masks were decided on.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        output_dir: str,
        regions: Sequence[str] = REGIONS,
        rules: Rules | None = None,
    ) -> None:
        self.cases = {item["case"]: item for item in cases}
        self.folder = Path(output_dir)
        self.regions = tuple(regions)
        self.rules = rules or Rules()
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Register at start, after each case and at the end."""
        engine.add_event_handler(Events.STARTED, lambda _: self.rows.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def save(self, engine: Engine) -> None:
        """Write the maps of this batch and note its rows."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case, native = item["case"], output[PROBABILITIES]
            probabilities = native.as_tensor()
            masks = region_masks(probabilities, self.regions, self.rules, voxel_mm3(native.affine))
            expected = expected_dice(probabilities, masks)
            values = [*expected.tolist(), float(expected.mean())]
            names = (f"expected_dice_{region}" for region in (*self.regions, "mean"))
            self.rows.append({"case": case} | dict(zip(names, values, strict=True)))
            volume = entropy_bits(probabilities).movedim(0, -1).cpu().numpy()
            save_volume(volume, image_files(self.cases[case])[0], self.folder / f"{case}_unc.nii.gz")

    def write(self, engine: Engine) -> None:
        """Gather the rows of all processes and write the table on rank 0, the least certain case first."""
        rows = distributed.gathered(self.rows)
        if distributed.rank() > 0:
            return
        rows = sorted(rows, key=lambda row: (row["expected_dice_mean"], row["case"]))
        with write_aside(self.folder / TABLE_FILE) as aside, aside.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.DictWriter(lines, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
