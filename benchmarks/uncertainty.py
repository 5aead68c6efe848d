"""Whether our recipe's probabilities are true, and whether it knows which cases it segments badly.

    python benchmarks/uncertainty.py run --minutes 40
    python benchmarks/uncertainty.py table --minutes 40

The weights are those that benchmarks/accuracy.py kept in --work_dir for each fold, so every patient is judged by a
network that has not seen it. Calibration: expected calibration error of each region over the brain, all cases together,
without and with flips. Ranking: cases in the order of the Dice that the network itself expects (uncertainty.csv of
configs/inference.json), against the Dice that they have.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
import torch
from accuracy_folds import FOLDS, read_image
from accuracy_scores import scores
from accuracy_sides import OURS, make_side
from accuracy_statistics import COLUMNS, MEAN, markdown, row
from kept_results import by_recipe, load
from kept_runs import Trained, answer, command_line, judge_one_side
from perturbations import brain_of
from scipy import stats
from scripts.calibration import Reliability, coverage_curve, dice_at_coverage, rank_correlation, reliability
from scripts.labels import REGIONS, get_scheme, labels_to_regions
from scripts.uncertainty import TABLE_FILE

UNCERTAINTY = "uncertainty"
# The inference that probabilities are taken from, and the flips of each.
WAYS: dict[str, list[int]] = {"plain": [], "flips": [0, 1, 2]}
HALF = 0.5
MEAN_AT = COLUMNS.index(MEAN)
PERMUTATIONS = 9999
P_VALUE = "p is two-sided, of pairing doubts and Dice at random: all pairings of up to 7 cases, else 9999 random ones."


def find(trained: Trained) -> dict[str, Any]:
    """Dice, expected Dice and reliability of a run's test cases, by the way of inference."""
    run, fold = trained.run, trained.fold
    found: dict[str, Any] = {}
    for way, axes in WAYS.items():
        knobs = {**run.knobs, "tta_axes": axes, "save_probabilities": True, "save_uncertainty": True}
        folder = trained.work_dir / UNCERTAINTY / run.name / way
        make_side(OURS, fold, trained.folder, run.configs, knobs).apply(fold.test, folder, full=True)
        with (folder / TABLE_FILE).open(encoding="utf-8", newline="") as lines:
            expected = {line["case"]: float(line["expected_dice_mean"]) for line in csv.DictReader(lines)}
        found[way] = {
            "dice": scores(fold.test, folder, fold.label_scheme),
            "expected_dice": expected,
            "reliability": {item["case"]: bins_of(item, folder, fold.label_scheme) for item in fold.test},
        }
    return found


def bins_of(item: dict[str, Any], folder: Path, label_scheme: str) -> dict[str, list[list[float]]]:
    """Region to the sums of its bins (voxels, probability, positive), of one case."""
    probabilities = np.asarray(nib.load(folder / f"{item['case']}_prob.nii.gz").dataobj)
    ids = torch.from_numpy(np.asarray(nib.load(item["label"]).dataobj).round().astype(np.uint8))
    truth = labels_to_regions(ids[None], get_scheme(label_scheme), REGIONS, item["case"], torch.bool).numpy()
    brain = brain_of(read_image(item)[0])
    bins = [reliability(probabilities[..., channel], truth[channel], brain) for channel in range(len(REGIONS))]
    return {
        region: [one.voxels.tolist(), one.probability.tolist(), one.positive.tolist()]
        for region, one in zip(REGIONS, bins, strict=True)
    }


def text(folder: Path, minutes: float, folds: int = FOLDS) -> str:
    """Calibration and ranking of each recipe in Markdown, over all folds that have been run; ``P_VALUE`` explains p.

    Raises:
        InputError: nothing has been run with that budget, or what has does not belong together.
    """
    found = by_recipe(load(folder, minutes, folds))
    return "\n\n".join(recipe_text(name, results, minutes, folds) for name, results in found.items())


def explained(folder: Path, minutes: float, folds: int) -> str:
    """:func:`text` with what p is."""
    return f"{text(folder, minutes, folds)}\n\n{P_VALUE}"


def recipe_text(name: str, found: Sequence[Mapping[str, Any]], minutes: float, folds: int) -> str:
    """Both tables of one recipe."""
    reliable = [[way, *cells] for way in WAYS for cells in calibration(result[way] for result in found)]
    ranked = [[way, *ranking([result[way] for result in found])] for way in WAYS]
    head = ["", "region", "ECE", "ECE, mean of cases", "ECE of p above 1/15", "ECE of a network that always says 0"]
    title = (
        f"Expected calibration error over the brain, {name} after {minutes:g} CPU minutes of training, {folds} folds:"
    )
    lines = [title, "", *markdown(head, reliable), ""]
    lines += [f"The Dice that {name} expects of a case, against the mean Dice that it has:", ""]
    head = ["", "cases", "mean Dice", "of the surer half", "of the surest 1, 2, ...", "rank correlation (p)"]
    return "\n".join([*lines, *markdown(head, ranked)])


def calibration(results: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A line a region: errors of all cases together, of single cases, and without the bin of what is surely not it."""
    cases = [case for result in results for case in result["reliability"].values()]
    lines = []
    for region in REGIONS:
        bins = [Reliability(*map(np.array, case[region])) for case in cases]
        whole = sum(bins[1:], bins[0])
        above = Reliability(whole.voxels[1:], whole.probability[1:], whole.positive[1:])
        errors = (
            whole.error(),
            np.mean([one.error() for one in bins]),
            above.error() if above.voxels.any() else float("nan"),
            # A network that says 0 everywhere errs by the share of voxels that are in the region.
            whole.positive.sum() / whole.voxels.sum(),
        )
        lines.append([region, *(f"{error:.3f}" for error in errors)])
    return lines


def ranking(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether doubt falls as Dice rises: Dice of the surest cases, Spearman's correlation and its p value."""
    dice = {case: row(regions)[MEAN_AT] for result in results for case, regions in result["dice"].items()}
    doubt = {case: 1 - value for result in results for case, value in result["expected_dice"].items()}
    values = np.array([doubt[case] for case in dice]), np.array(list(dice.values()))
    doubts, found = (stats.rankdata(value) - (len(value) + 1) / 2 for value in values)
    # Ranks that are paired anew keep their spread, so their product orders pairings as Spearman's correlation does. Of
    # one sample alone: with both, scipy shuffles both, and takes (n!)^2 pairings for what are n!.
    tested = stats.permutation_test(
        [doubts], lambda paired, axis: np.sum(paired * found, axis=axis),
        permutation_type="pairings", vectorized=True, n_resamples=PERMUTATIONS, rng=0,
    )  # fmt: skip
    return [
        str(len(dice)),
        f"{values[1].mean():.3f}",
        f"{dice_at_coverage(*values, HALF):.3f}",
        " ".join(f"{value:.3f}" for value in coverage_curve(*values)),
        f"{rank_correlation(*values):.2f} ({tested.pvalue:.2f})",
    ]


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    root, _ = command_line(__doc__, (OURS,))
    return answer(
        root.parse_args(argv), UNCERTAINTY, explained, partial(judge_one_side, __file__, UNCERTAINTY, OURS, find)
    )


if __name__ == "__main__":
    sys.exit(main())
