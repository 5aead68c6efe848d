"""Tune the rules of postprocessing on a model's own validation cases: ``python -m scripts.tune_postprocessing``.

From ``bundle/``, after an evaluation with ``--evaluate_on validation --save_probabilities True``. The rules are written
as postprocessing.json beside the model, for the knob ``postprocessing_rules`` of evaluate.json and inference.json. Test
cases are refused. Several models, such as the folds of a cross-validation, are tuned together, each on its own
validation part: their rules are then those of the ensemble.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.boxes import nonzero_box
from scripts.checkpoints import evaluation_dir, trained
from scripts.datalists import items
from scripts.ensemble import folders, refuse_misfit
from scripts.errors import InputError, one_sentence
from scripts.files import write_json
from scripts.label_files import open_label, read_ids
from scripts.labels import get_scheme, labels_to_regions
from scripts.naming import listed
from scripts.native import voxel_mm3
from scripts.origins import read_settings
from scripts.probability_files import read_probabilities
from scripts.rule_search import THRESHOLDS, Search, TunedCase
from scripts.rules import RULES_FILE, Rules

PROBABILITY_ENDING = "_prob.nii.gz"


def validation_cases(ckpt_dir: str, prediction_dir: Path, dataset_dir: str | None) -> list[TunedCase]:
    """The validation cases of the model in ``ckpt_dir`` with the probabilities that it predicted for them.

    Args:
        ckpt_dir: folder of model.json, which holds the split.
        prediction_dir: folder of ``<case>_prob.nii.gz``, float (H, W, D, R), on the grids of the cases' images.
        dataset_dir: where the data lie now; None takes the folder of the training.

    Raises:
        InputError: there are predictions of other cases, or none of a validation case, other weights made them, or
            grids differ.
    """
    split = trained(ckpt_dir, "datalist")
    part = items(split, "validation", dataset_dir)
    found = {file.name.removesuffix(PROBABILITY_ENDING) for file in prediction_dir.glob(f"*{PROBABILITY_ENDING}")}
    wanted = {item["case"] for item in part}
    if foreign := sorted(found - wanted):
        raise InputError(
            f"{prediction_dir}: holds predictions of {listed(foreign)}, which {ckpt_dir} was not validated on; rules "
            "tuned on test or training cases would flatter the model, so predict its validation part alone."
        )
    if missing := sorted(wanted - found):
        raise InputError(
            f"{prediction_dir}: has no probabilities of validation case {listed(missing)}; run evaluate.json with "
            "--evaluate_on validation --save_probabilities True, or name the folder with --prediction_dir."
        )
    if not wanted:
        raise InputError(f"{ckpt_dir}: its split has no validation part, on which rules are tuned; train with one.")
    read_settings(prediction_dir, trained(ckpt_dir, "sha256"), sorted(wanted))
    regions = trained(ckpt_dir, "recipe")["regions"]
    return [read_case(item, prediction_dir, split["label_scheme"], regions) for item in part]


def read_case(item: Mapping[str, Any], prediction_dir: Path, label_scheme: str, regions: Sequence[str]) -> TunedCase:
    """One case, cut to the box of all that some candidate threshold lets through, and of the truth.

    Raises:
        InputError: a file cannot be read, the truth is no label map, prediction and truth are not on one grid, the
            number of regions differs, or there are values that are no probabilities.
    """
    file = prediction_dir / f"{item['case']}{PROBABILITY_ENDING}"
    truth_file = Path(item["label"])
    (image, values), truth = read_probabilities(file), open_label(truth_file)
    if image.shape != (*truth.shape[:3], len(regions)) or not np.allclose(image.affine, truth.affine, atol=1e-3):
        raise InputError(
            f"{file}: has shape {image.shape} and another grid or number of regions than {item['label']} and "
            f"{', '.join(regions)}; predict the case anew."
        )
    probabilities = torch.from_numpy(values).movedim(-1, 0)
    labels = torch.from_numpy(read_ids(truth_file, truth))[None]
    masks = labels_to_regions(labels, get_scheme(label_scheme), regions, item["case"], torch.uint8)
    box = nonzero_box((probabilities > min(THRESHOLDS)) | (masks > 0)) or (slice(0, 1),) * 3
    cut = (slice(None), *box)
    volume = voxel_mm3(truth.affine)
    return TunedCase(item["case"], probabilities[cut].clone(), masks[cut].clone(), volume, item["patient"])


def tuned(cases: Sequence[TunedCase], regions: Sequence[str], ckpt_dirs: Sequence[str]) -> dict[str, Any]:
    """The content of postprocessing.json: the rules, and on what and from what they were chosen."""
    search = Search(cases, regions)
    rules, trials = search.best()
    before, after = (search.table(each) for each in (Rules(), rules))
    left_out = search.left_out()
    change = after.mean(1) - before.mean(1)
    return {
        "rules": asdict(rules),
        "tuned_on": {
            "part": "validation",
            "sha256": [trained(folder, "sha256") for folder in ckpt_dirs],
            "cases": [case.name for case in cases],
            "patients": validated_patients(ckpt_dirs),
            "mean_dice": {
                "before": before.mean(),
                "after": after.mean(),
                "gain": after.mean() - before.mean(),
                "cross_validated_gain": None if left_out is None else left_out.mean() - before.mean(),
            },
            "region_dice": {
                name: {"before": before[:, index].mean(), "after": after[:, index].mean()}
                for index, name in enumerate(regions)
            },
            "better_cases": int((change > 0).sum()),
            "worse_cases": int((change < 0).sum()),
            "tried": [asdict(trial) for trial in trials],
        },
    }


def validated_patients(ckpt_dirs: Sequence[str]) -> list[str]:
    """The patients of the validation parts, none twice."""
    return sorted({entry["patient"] for folder in ckpt_dirs for entry in trained(folder, "datalist")["validation"]})


def table(about: Mapping[str, Any]) -> str:
    """What was tuned, for people: the entry ``tuned_on``."""
    lines = [
        f"{len(about['cases'])} validation cases",
        f"{'rule':<34}{'value':>12}{'gain':>9}{'its error':>11}  taken",
    ]
    for trial in about["tried"]:
        taken, best = trial["taken"], trial["values"][int(np.argmax(trial["mean_dice"]))]
        value, word = (best, "no") if taken is None else (taken, "yes")
        error = "unknown" if trial["standard_error"] is None else f"{trial['standard_error']:.4f}"
        lines.append(f"{trial['rule']:<34}{value!s:>12}{trial['gain']:>+9.4f}{error:>11}  {word}")
    dice = about["mean_dice"]
    lines.append(
        f"mean Dice {dice['before']:.4f} to {dice['after']:.4f}: {about['better_cases']} cases better, "
        f"{about['worse_cases']} worse"
    )
    crossed = dice["cross_validated_gain"]
    lines.append(
        f"gain on the cases that chose the rules {dice['gain']:+.4f}; cross-validated, each patient by the rules of "
        f"the others, {'not known of fewer than three' if crossed is None else f'{crossed:+.4f}'}"
    )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Tune, print what was found and write it beside each model."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tune_postprocessing", description="Tune postprocessing on validation cases."
    )
    parser.add_argument("--ckpt_dir", nargs="+", default=["models"], help="model folder, or those of an ensemble")
    parser.add_argument(
        "--prediction_dir",
        nargs="+",
        help="folder of <case>_prob.nii.gz, one a model; default: validation/labels in the run folder of the training",
    )
    parser.add_argument("--output_dir", default="runs", help="folder of the run folders, as in the evaluation")
    parser.add_argument("--dataset_dir", help="where the data lie now; default: the folder of the training")
    options = parser.parse_args(argv)

    def run() -> int:
        ckpt_dirs = folders(options.ckpt_dir)
        predictions = options.prediction_dir or [
            str(Path(evaluation_dir(folder, options.output_dir, None)) / "validation" / "labels")
            for folder in ckpt_dirs
        ]
        if len(predictions) != len(ckpt_dirs):
            raise InputError(
                f"{len(predictions)} prediction_dir were given for {len(ckpt_dirs)} ckpt_dir; give one for each."
            )
        for other in ckpt_dirs[1:]:
            refuse_misfit(ckpt_dirs[0], other)
        cases = []
        for folder, prediction_dir in zip(ckpt_dirs, predictions, strict=True):
            cases += validation_cases(folder, Path(prediction_dir), options.dataset_dir)
        refuse_tested(cases, ckpt_dirs)
        settings = common_settings(ckpt_dirs, predictions)
        content = tuned(cases, trained(ckpt_dirs[0], "recipe")["regions"], ckpt_dirs)
        content["tuned_on"]["settings"] = settings
        print(table(content["tuned_on"]))
        for folder in ckpt_dirs:
            write_json(Path(folder) / RULES_FILE, content)
            print(f"rules        {(Path(folder) / RULES_FILE).resolve()}")
        return 0

    return one_sentence(run)


def common_settings(ckpt_dirs: Sequence[str], prediction_dirs: Sequence[str]) -> dict[str, Any]:
    """The settings by which all models predicted.

    Raises:
        InputError: they differ.
    """
    found = [
        read_settings(Path(predictions), trained(folder, "sha256"), [])
        for folder, predictions in zip(ckpt_dirs, prediction_dirs, strict=True)
    ]
    for predictions, settings in zip(prediction_dirs, found, strict=True):
        if settings != found[0]:
            raise InputError(
                f"{predictions}: was predicted with {settings}, but {prediction_dirs[0]} with {found[0]}; predict both "
                "with the same, which the rules are then for."
            )
    return found[0]


def refuse_tested(cases: Sequence[TunedCase], ckpt_dirs: Sequence[str]) -> None:
    """Refuse validation cases of one member that are test cases of another.

    Raises:
        InputError: naming them.
    """
    for folder in ckpt_dirs:
        tested = {entry["case"] for entry in trained(folder, "datalist")["test"]}
        if both := sorted(tested & {case.name for case in cases}):
            raise InputError(
                f"{folder}: {listed(both)} are in its test part, but another model was validated on them; tune models "
                "together that share their test part."
            )


if __name__ == "__main__":
    raise SystemExit(main())
