"""How much Dice a recipe loses when a case comes otherwise than in training: ours, nnU-Net's and the published one.

    python benchmarks/robustness.py run --minutes 40      # all folds and sides that benchmarks/accuracy.py has run
    python benchmarks/robustness.py table --minutes 40

The weights are those that benchmarks/accuracy.py kept in --work_dir; nothing is trained here. Each fold's test cases
are changed (perturbations.py), written to files, segmented by the side's full inference and scored; so are they as they
are. ``--fine CASE=FOLDER`` names the patient of a case as published, a BraTS folder at 1 mm, to be segmented as well.

nnU-Net ignores the direction in a file's affine by design, and asks its users for images of one orientation: what it
loses to another one is the price of not heeding that, and no weakness of its training.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import timing  # noqa: F401  puts bundle/ on the path
from accuracy_folds import FOLDS, read_image
from accuracy_run import Run
from accuracy_scores import EMPTY_REGIONS, scores
from accuracy_sides import NNUNET, OURS, PUBLISHED
from accuracy_statistics import PRESENT, column, interval, markdown, row, span
from kept_results import by_recipe, load, restored
from kept_runs import Trained, answer, command_line, judge, run_each
from perturbations import ORIENTATION, Perturbation, perturbations
from scripts.cases import items as datalist_items
from scripts.cases import whole_datalist

logger = logging.getLogger(__name__)

SIDES = (OURS, NNUNET, PUBLISHED)
ROBUSTNESS = "robustness"
PLAIN, FINE = "as it is", "as published"
# Ids of BraTS to 2022, which the --fine folders are of.
FINE_SCHEME = "brats2018"
SEED = 1
ORIENTATION_NOTE = (
    f"{NNUNET} ignores directions by design and asks for one orientation: '{ORIENTATION}' is misuse of it."
)


def changed_cases(cases: Sequence[Mapping[str, Any]], perturbation: Perturbation, folder: Path) -> list[dict[str, str]]:
    """Files of changed cases.

    Args:
        cases: items with ``case``, ``image`` (one 4-D file, or one a modality) and ``label``.
        perturbation: what is done to each.
        folder: of the files.

    Returns:
        Items of the same form, each image one 4-D file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, item in enumerate(cases):
        image, affine = perturbation.change(*read_image(item), SEED + number)
        made = folder / f"{item['case']}.nii.gz"
        nib.save(nib.Nifti1Image(image, affine), made)
        label = item["label"]
        if perturbation.moves:
            truth = nib.load(label)
            ids, affine = perturbation.change(np.asarray(truth.dataobj, np.uint8), truth.affine.astype(np.float64), 0)
            label = str(folder / f"{item['case']}_label.nii.gz")
            nib.save(nib.Nifti1Image(ids, affine), label)
        items.append({"case": item["case"], "image": str(made), "label": label})
    return items


def fine_cases(
    cases: Sequence[Mapping[str, Any]], folders: Mapping[str, Path], modalities: Sequence[str]
) -> list[dict[str, Any]]:
    """The test cases whose patient is there as published too, as items under their own names.

    Args:
        cases: items with ``case``.
        folders: case to the patient's folder, of one file a modality and ``seg``.
        modalities: channels of the images, in their order.
    """
    items = []
    for item in cases:
        if item["case"] in folders:
            listed = whole_datalist(folders[item["case"]], FINE_SCHEME, False, modalities)
            (fine,) = datalist_items(listed, "test")
            items.append({"case": item["case"], "image": fine["image"], "label": fine["label"]})
    return items


def find(trained: Trained, fine: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Dice of a run's test cases as they are and under every perturbation.

    Args:
        trained: the run.
        fine: case to the folder of its patient at the published spacing.
    """
    side, fold = trained.side, trained.fold
    folder = trained.work_dir / ROBUSTNESS / trained.run.name
    side.apply(fold.test, folder / "plain", full=True)
    dice = {PLAIN: scores(fold.test, folder / "plain", fold.label_scheme)}
    for perturbation in perturbations(fold.modalities):
        place = folder / perturbation.name.replace(" ", "_")
        items = changed_cases(fold.test, perturbation, place / "cases")
        side.apply(items, place / "predictions", full=True)
        dice[perturbation.name] = scores(items, place / "predictions", fold.label_scheme)
        logger.info("%s, %s: done", trained.run.name, perturbation.name)
    if items := fine_cases(fold.test, fine or {}, fold.modalities):
        side.apply(items, folder / "fine", full=True)
        dice[FINE] = scores(items, folder / "fine", fold.label_scheme, FINE_SCHEME)
    return {"dice": dice}


def text(folder: Path, minutes: float, folds: int = FOLDS) -> str:
    """A line a change in Markdown: Dice of each recipe, its loss, and what one has more of in the same cases.

    That one is the recipe of ours that most cases have been run of; ours as it is of equals.

    Raises:
        InputError: nothing has been run with that budget, or what has does not belong together.
    """
    recipes = by_recipe(load(folder, minutes, folds))
    values = {name: values_of(found) for name, found in recipes.items()}
    names = list(values)
    ours = [name for name, found in recipes.items() if found[0]["side"] == OURS]
    own = max(ours or names, key=lambda name: len(values[name][PLAIN]))
    others = [name for name in names if name != own]
    rows = []
    for change in dict.fromkeys(change for name in names for change in values[name]):
        cells = [change]
        for name in names:
            plain, changed = values[name][PLAIN], values[name].get(change, {})
            loss = pairs_of(plain, changed) if change != PLAIN else []
            cells += [mean_of(list(changed.values())), span(interval(column(loss, PRESENT))) if loss else ""]
        for name in others:
            pairs = column(pairs_of(values[own].get(change, {}), values[name].get(change, {})), PRESENT)
            cells.append(f"{span(interval(pairs), sign='+')} (n {len(pairs)})" if len(pairs) else "")
        rows.append(cells)
    head = [
        "",
        *(words for name in names for words in (name, "its loss")),
        *(f"{own} less {name}" for name in others),
    ]
    title = (
        f"Mean Dice of the regions that a case has, after {minutes:g} CPU minutes of training, {folds} folds (n cases):"
    )
    notes = ["", ORIENTATION_NOTE] if NNUNET in names else []
    return "\n".join([title, "", *markdown(head, rows), *notes])


def mean_of(rows: Sequence[Sequence[float]]) -> str:
    """``0.812 (n 10)``, or nothing of no case that has a region."""
    values = column(rows, PRESENT)
    return f"{values.mean():.3f} (n {len(values)})" if len(values) else ""


def values_of(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Name of a change to each case's values in the order of ``COLUMNS``, of one side's results."""
    found: dict[str, dict[str, list[float]]] = {}
    for result in results:
        for name, dice in result["dice"].items():
            cases = {case: row(regions, result[EMPTY_REGIONS][case]) for case, regions in dice.items()}
            found.setdefault(name, {}).update(cases)
    return found


def pairs_of(one: Mapping[str, list[float]], other: Mapping[str, list[float]]) -> list[np.ndarray]:
    """Values of ``one`` less those of ``other``, of the cases that both have."""
    return [np.subtract(one[case], other[case]) for case in one if case in other]


def fine_folder(argument: str) -> tuple[str, Path]:
    """``CASE=FOLDER``."""
    case, equals, folder = argument.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{argument}' is not CASE=FOLDER")
    return case, Path(folder)


def main(argv: list[str] | None = None) -> int:
    """Run or tabulate."""
    root, run = command_line(__doc__, SIDES)
    run.add_argument("--fine", type=fine_folder, action="append", default=[], metavar="CASE=FOLDER")
    logger.setLevel(logging.INFO)
    return answer(root.parse_args(argv), ROBUSTNESS, text, _run)


def _run(options: argparse.Namespace) -> int:
    if options.side and options.fold is not None:
        run = Run(options.side, options.minutes, options.fold, options.variant, folds=options.folds)
        run, finder = restored(run, options.results_dir), partial(find, fine=dict(options.fine))
        judge(ROBUSTNESS, run, options.dataset_dir, options.work_dir, options.results_dir, finder)
        return 0
    wanted = dict(options.fine)
    fine = [word for case, folder in wanted.items() for word in ("--fine", f"{case}={folder}")]

    def lacks(result: dict[str, Any]) -> bool:
        return bool(wanted.keys() & result["dice"][PLAIN].keys() - result["dice"].get(FINE, {}).keys())

    return run_each(__file__, ROBUSTNESS, SIDES, options, fine, lacks)


if __name__ == "__main__":
    sys.exit(main())
