"""Score a folder of predictions, from any tool, against a reference, without a model or a data set's images.

    python -m scripts.evaluate --prediction_dir PREDICTIONS --reference_dir DIR --label_scheme msd

The measures and their rules are those of evaluate.json (scripts.scores); docs/evaluation.md tells how to read them.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.errors import InputError, one_sentence
from scripts.files import refuse_unwritable, write_texts
from scripts.label_files import open_label, read_ids
from scripts.label_folders import Pair, check_grids, find_labels, pair_up, refuse, refuse_other_scheme
from scripts.labels import REGIONS, SCHEMES, Scheme, get_scheme, labels_to_regions, refuse_foreign_values
from scripts.score_report import REPORT_FILE, score_report
from scripts.score_tables import TABLE_FILES, mean_dice, table, table_texts
from scripts.scores import score_case, voxel_size_mm

logger = logging.getLogger(__name__)

WORST_SHOWN = 3

Work = Callable[[Pair, "Comparison"], Any]


@dataclass(frozen=True)
class Comparison:
    """What the ids of both sides mean and what is scored.

    Attributes:
        prediction, reference: the ids of both sides.
        regions: names of the regions that are scored; with ``by_label`` the label ids, as text.
        by_label: score each label id by itself, as the Medical Segmentation Decathlon does, instead of BraTS's regions.
    """

    prediction: Scheme
    reference: Scheme
    regions: tuple[str, ...]
    by_label: bool = False

    @classmethod
    def of(cls, label_scheme: str, reference_scheme: str | None, by_label: bool = False) -> Comparison:
        """The comparison of two schemes by name; the regions are those that both have.

        Raises:
            InputError: a scheme is unknown, or ids of two schemes are to be compared one by one.
        """
        prediction = get_scheme(label_scheme)
        reference = get_scheme(reference_scheme or label_scheme)
        if by_label:
            if reference != prediction:
                raise InputError(
                    f"--labels compares ids, which mean other tissues in {label_scheme} than in {reference_scheme}; "
                    "leave --labels out, or convert one side."
                )
            return cls(prediction, reference, tuple(map(str, prediction.labels)), True)
        shared = tuple(name for name in REGIONS if name in prediction.regions and name in reference.regions)
        return cls(prediction, reference, shared)


def evaluate(
    prediction_dir: Path,
    reference_dir: Path,
    output_dir: Path,
    comparison: Comparison,
    jobs: int = 1,
    predicted_only: bool = False,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Score every case and write cases.csv, cases.json, summary.json and report.html.

    Args:
        prediction_dir: folder of label maps.
        reference_dir: folder of label maps, a Decathlon folder, or per-patient BraTS folders.
        output_dir: folder of the tables.
        comparison: label ids and regions.
        jobs: processes that score.
        predicted_only: leave out the cases of the reference that were not predicted.

    Returns:
        The rows of cases.json and the summary.

    Raises:
        InputError: the folders do not hold the same cases, a dataset.json denies a scheme, the output folder cannot be
            written to, or a file is unusable; all such are named, and nothing is written.
    """
    predictions = find_labels(prediction_dir, "--prediction_dir")
    references = find_labels(reference_dir, "--reference_dir")
    refuse_other_scheme(prediction_dir, comparison.prediction, "--label_scheme")
    refuse_other_scheme(reference_dir, comparison.reference, "--reference_scheme")
    pairs = pair_up(predictions, references, predicted_only, (prediction_dir, reference_dir))
    refuse_unwritable(output_dir, (*TABLE_FILES, REPORT_FILE))
    left_out = [case for case in references if case not in predictions]
    if left_out:
        logger.warning(
            "%d of %d cases of the reference were not predicted and are left out", len(left_out), len(references)
        )
    # Headers first: a wrong grid should not cost the scoring of all other cases.
    problems = _problems(check_grids, pairs)
    fitting = [pair for pair in pairs if pair.case not in problems]
    results = dict(zip(fitting, _of_all(check_ids if problems else score_pair, fitting, comparison, jobs), strict=True))
    problems |= {pair.case: str(result) for pair, result in results.items() if isinstance(result, InputError)}
    refuse({pair.case: problems[pair.case] for pair in pairs if pair.case in problems}, len(pairs))
    rows = list(results.values())
    about = {
        "label_scheme": comparison.prediction.name,
        "reference_scheme": comparison.reference.name,
        "by_label": comparison.by_label,
        "cases_left_out": left_out,
    }
    summary, tables = table_texts(rows, comparison.regions, about)
    write_texts(output_dir, tables | {REPORT_FILE: score_report(rows, about)})
    return rows, summary


def score_pair(pair: Pair, comparison: Comparison) -> dict[str, Any]:
    """The row of one case.

    Raises:
        InputError: a file cannot be read, or holds ids that are not in its scheme.
    """
    masks = _read(pair, comparison)
    scores = score_case(*masks, voxel_size_mm(open_label(pair.reference).affine), comparison.regions)
    files = {"truth": str(pair.reference.resolve()), "prediction": str(pair.prediction.resolve())}
    return {"case": pair.case} | files | scores


def check_ids(pair: Pair, comparison: Comparison) -> None:
    """Read both files of a case.

    Raises:
        InputError: a file cannot be read, or holds ids that are not in its scheme.
    """
    _read(pair, comparison)


def _read(pair: Pair, comparison: Comparison) -> list[NDArray[np.bool_]]:
    """Masks of the prediction and of the reference, (R, H, W, D) each.

    Raises:
        InputError: a file cannot be read, or holds ids that are not in its scheme.
    """
    masks = []
    for file, scheme in ((pair.prediction, comparison.prediction), (pair.reference, comparison.reference)):
        ids = torch.from_numpy(read_ids(file, open_label(file)))
        if comparison.by_label:
            refuse_foreign_values(ids, scheme, str(file))
            masks.append(torch.stack([ids == int(value) for value in comparison.regions]).numpy())
        else:
            masks.append(labels_to_regions(ids[None], scheme, comparison.regions, str(file), torch.bool).numpy())
    return masks


def main(argv: Sequence[str] | None = None) -> int:
    """Score the folders and print the summary."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.evaluate", description="Score a folder of predictions under the BraTS comparison."
    )
    parser.add_argument("--prediction_dir", type=Path, required=True, help="folder of label maps, from any tool")
    parser.add_argument("--reference_dir", type=Path, required=True, help="the truth, a folder or a whole data set")
    parser.add_argument("--label_scheme", required=True, help=f"ids of the predictions: {', '.join(SCHEMES)}")
    parser.add_argument("--reference_scheme", help="ids of the reference, where they are others")
    parser.add_argument("--labels", action="store_true", help="score each label id by itself instead of the regions")
    parser.add_argument("--output_dir", type=Path, default=Path("evaluation"), help="of the tables (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core: %(default)s)")
    parser.add_argument("--predicted_only", action="store_true", help="leave out cases without a prediction")
    return one_sentence(lambda: _main(parser.parse_args(argv)))


def _main(options: argparse.Namespace) -> int:
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: 1 process is the least; give 1 or more.")
    comparison = Comparison.of(options.label_scheme, options.reference_scheme, options.labels)
    rows, summary = evaluate(
        options.prediction_dir,
        options.reference_dir,
        options.output_dir,
        comparison,
        options.jobs,
        options.predicted_only,
    )
    worst = sorted(rows, key=mean_dice)[:WORST_SHOWN]
    print(table(summary))
    print("lowest mean Dice: " + ", ".join(f"{row['case']} {mean_dice(row):.3f}" for row in worst))
    print(f"tables: {options.output_dir.resolve()}")
    return 0


def _problems(check: Callable[[Pair], None], pairs: Sequence[Pair]) -> dict[str, str]:
    """Case to sentence for each pair that the check refuses."""
    problems = {}
    for pair in pairs:
        try:
            check(pair)
        except InputError as error:
            problems[pair.case] = str(error)
    return problems


def _of_all(work: Work, pairs: Sequence[Pair], comparison: Comparison, jobs: int) -> Iterator[Any]:
    """What ``work`` gives for each pair, or the InputError that it raises, in the order of ``pairs``."""
    jobs = min(jobs, len(pairs))
    if jobs <= 1:
        yield from (_or_error(work, pair, comparison) for pair in pairs)
        return
    # Fresh interpreters: a forked one may hang in PyTorch's thread pool.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield from pool.map(_or_error, [work] * len(pairs), pairs, [comparison] * len(pairs))
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {jobs} processes was ended by the system, which may be short of memory; give fewer --jobs."
            ) from error


def _or_error(work: Work, pair: Pair, comparison: Comparison) -> Any:
    try:
        return work(pair, comparison)
    except InputError as error:
        return error


if __name__ == "__main__":
    sys.exit(main())
