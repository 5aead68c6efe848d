"""Several evaluated runs in one table, with intervals, and how far each differs from the first.

    python -m skin_lesions.compare runs/plain runs/weighted_sampler runs/weighted_loss runs/oversample

All runs must have been evaluated on the same images: each bootstrap sample is then one of the same lesions for every
run, and the interval of a difference is that of paired samples, much narrower than the runs' own intervals tell.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from skin_lesions import bootstrap
from skin_lesions.errors import InputError, install_excepthook
from skin_lesions.evaluation import HEADINGS, OVERALL, SUMMARY_FILE, draw_measures, measure, with_interval
from skin_lesions.files import read_json
from skin_lesions.predictions import CASES_FILE, Predictions, read_cases

# A precision depends on how many images of the other classes there are, and on recall; the table stays readable.
COMPARED_BY_CLASS = ("auc", "recall")
# Of a run folder, where configs/evaluate.json writes.
PART = "test"

Table = dict[str, list[str]]


def read_run(folder: Path) -> Predictions:
    """The test predictions of a run, in the order of the images' names.

    Args:
        folder: the run's.

    Raises:
        InputError: it was not evaluated, or what it holds is no evaluation.
    """
    table, about = (folder / PART / name for name in (CASES_FILE, SUMMARY_FILE))
    if not table.is_file():
        raise InputError(f"{table}: there is no such evaluation; run configs/evaluate.json on this run first.")
    summary = read_json(about, "summary of the evaluation")
    temperature = summary.get("temperature") if isinstance(summary, Mapping) else None
    if not isinstance(temperature, int | float):
        raise InputError(f"{about}: has no temperature; run configs/evaluate.json on this run anew.")
    return read_cases(table, temperature).in_order_of_images()


def compare(runs: Mapping[str, Predictions]) -> tuple[Table, Table]:
    """Each measure of each run, and its difference from the first run's.

    Args:
        runs: name to predictions of the same images in the same order, two at least.

    Returns:
        Two tables: a measure's name to a cell a run, with 95 % intervals; the second without the first run.

    Raises:
        InputError: the runs are not of the same images, lesions and classes, or these are of one lesion only.
    """
    first, *others = runs
    for name in others:
        _check_same_part(first, runs[first], name, runs[name])
    if len(set(runs[first].lesions)) < 2:
        raise InputError(f"{first}: was evaluated on a single lesion, but an interval needs two; evaluate on more.")
    values = {name: _flat(measure(run), run.classes) for name, run in runs.items()}
    draws = {name: _flat(draw_measures(run), run.classes) for name, run in runs.items()}
    absolute = {row: [_cell(values[name][row], draws[name][row]) for name in runs] for row in values[first]}
    differences = {
        row: [
            _cell(values[name][row] - values[first][row], draws[name][row] - draws[first][row], signed=True)
            for name in others
        ]
        for row in values[first]
    }
    return absolute, differences


def markdown(header: Sequence[str], table: Table) -> str:
    """A table as text that Markdown shows as one, its columns in line.

    Args:
        header: above the rows' names and each column.
        table: a row's name to its cells.
    """
    rows = [list(header), *([name, *cells] for name, cells in table.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables.

    Raises:
        InputError: see :func:`read_run` and :func:`compare`; a process of its own ends with that one sentence.
    """
    parser = argparse.ArgumentParser(
        prog="python -m skin_lesions.compare", description="Compare runs that were evaluated on the same images."
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of an evaluated run, the first the base"
    )
    folders = parser.parse_args(argv).runs
    install_excepthook()
    names = [folder.resolve().name for folder in folders]
    if len(folders) < 2 or len(set(names)) < len(names):
        raise InputError(f"the runs {', '.join(names)}: two or more folders of different names are wanted to compare.")
    runs = {name: read_run(folder) for name, folder in zip(names, folders, strict=True)}
    absolute, differences = compare(runs)
    part = runs[names[0]]
    print(f"{len(part.images)} images of {len(set(part.lesions))} lesions, with 95 % intervals over lesions\n")
    print(markdown(["measure", *names], absolute))
    print(f"\nDifference from {names[0]}, of paired samples\n")
    print(markdown(["measure", *names[1:]], differences))


def _check_same_part(first: str, one: Predictions, name: str, other: Predictions) -> None:
    if one.classes != other.classes:
        raise InputError(
            f"{name}: knows the classes {', '.join(other.classes)}, but {first} {', '.join(one.classes)}; only models "
            "of the same classes can be compared."
        )
    rows = [set(zip(run.images, run.lesions, run.truth.tolist(), strict=True)) for run in (one, other)]
    if differing := sorted(rows[0] ^ rows[1]):
        raise InputError(
            f"{name}: was not evaluated on the images of {first} (e.g. {differing[0][0]}); give both trainings the "
            "same dataset_dir, split_ratios and seed, and evaluate them."
        )


def _flat(measures: Mapping[str, float | np.ndarray], classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Measures by the names of rows; those of a class each are a row a class. Classes lie along the last axis."""
    rows = {HEADINGS[name]: np.asarray(measures[name]) for name in OVERALL}
    return rows | {
        f"{HEADINGS[name]} {code}": np.asarray(measures[name])[..., label]
        for name in COMPARED_BY_CLASS
        for label, code in enumerate(classes)
    }


def _cell(value: np.ndarray, draws: np.ndarray, signed: bool = False) -> str:
    if np.isnan(value):
        return with_interval(None, None)
    return with_interval(float(value), bootstrap.interval(draws).tolist(), signed)


if __name__ == "__main__":
    main()
