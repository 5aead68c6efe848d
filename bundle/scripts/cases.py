"""Find, check and split the cases of a data set: ``python -m scripts.cases --dataset_dir DIR``, from ``bundle/``.

The functions here do the same for a training, an evaluation or an inference that is given a folder.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scripts.datalists import entries, items, load_datalist
from scripts.errors import InputError, one_sentence
from scripts.files import write_json
from scripts.labels import SCHEMES
from scripts.naming import MODALITIES
from scripts.splits import PARTS, RATIOS, split_cases
from scripts.survey import AUTO, Survey, refuse_or_skip, survey_images, survey_labelled

__all__ = ["image_items", "items", "load_datalist", "prepare_datalist", "whole_datalist"]


def prepare_datalist(
    dataset_dir: str | os.PathLike[str],
    label_scheme: str = AUTO,
    ratios: Sequence[float] = RATIOS,
    seed: int = 42,
    folds: int | None = None,
    fold: int | None = None,
    replicate: int = 1,
    skip_bad_cases: bool = False,
    modalities: Sequence[str] = MODALITIES,
    fold_part: str = "validation",
) -> dict[str, Any]:
    """Find the labelled cases of a folder, check every one, and split them by patient.

    Args:
        dataset_dir: a folder in a known layout, or ``phantom``.
        label_scheme: what the label ids mean, or ``auto`` to detect it.
        ratios: shares of training, validation and test.
        seed: of the split.
        folds: number of folds, or None for a single split.
        fold: the fold to hold out, from 0.
        replicate: copies of each case, over the same files, to rehearse a larger data set.
        skip_bad_cases: leave out unusable cases with a warning.
        modalities: names of the image channels, in the order wanted.
        fold_part: what that fold is, ``validation`` or ``test``.

    Returns:
        The datalist.

    Raises:
        InputError: the folder, a case, the scheme or the split is unusable; all unusable cases are named at once.
    """
    found = survey_labelled(_resolve(dataset_dir), label_scheme, modalities)
    return _split(found, ratios, seed, folds, fold, replicate, skip_bad_cases, modalities, fold_part)


def whole_datalist(
    dataset_dir: str | os.PathLike[str], label_scheme: str, skip_bad_cases: bool, modalities: Sequence[str]
) -> dict[str, Any]:
    """A datalist whose test part is every labelled case: to score a model on data that it was not trained with."""
    found = survey_labelled(_resolve(dataset_dir), label_scheme, modalities)
    _refuse_or_skip(found, skip_bad_cases)
    parts = {"training": [], "validation": [], "test": entries(found.usable, found.dataset.root)}
    return _describe(found, modalities) | parts | {"skipped": _skipped(found)}


def image_items(
    dataset_dir: str | os.PathLike[str], modalities: Sequence[str], skip_bad_cases: bool
) -> list[dict[str, Any]]:
    """Images to segment, as :func:`items` gives them but without labels.

    These are the folder's cases without a label, or all of its cases where every one has a label.

    Raises:
        InputError: an image is unusable; all such are named at once.
    """
    dataset, usable, problems = survey_images(_resolve(dataset_dir), modalities)
    refuse_or_skip(dataset.root, problems, len(usable) + len(problems), skip_bad_cases)
    return items({"dataset_dir": str(dataset.root), "images": entries(usable, dataset.root)}, "images")


def _resolve(dataset_dir: str | os.PathLike[str]) -> Path:
    # The phantom's generator is only imported here, so that reading real data does not wait for its libraries.
    from scripts import phantom

    return phantom.resolve(dataset_dir)


def _split(
    found: Survey,
    ratios: Sequence[float],
    seed: int,
    folds: int | None,
    fold: int | None,
    replicate: int,
    skip_bad_cases: bool,
    modalities: Sequence[str],
    fold_part: str,
) -> dict[str, Any]:
    if replicate < 1:
        raise InputError(f"replicate is {replicate}, but a case needs at least 1 copy; correct the number.")
    _refuse_or_skip(found, skip_bad_cases)
    split = split_cases(found.usable, ratios, seed, folds, fold, found.dataset.given_split, fold_part)
    choices = {"seed": seed, "ratios": list(ratios), "folds": folds, "fold": fold, "fold_part": fold_part}
    # The split comes before the copies: no copy of a training patient is in another part.
    parts = {part: entries(split[part], found.dataset.root, replicate) for part in PARTS}
    return _describe(found, modalities) | choices | parts | {"skipped": _skipped(found)}


def _refuse_or_skip(found: Survey, skip_bad_cases: bool) -> None:
    total = len(found.usable) + len(found.problems)
    refuse_or_skip(found.dataset.root, found.problems, total, skip_bad_cases)


def _describe(found: Survey, modalities: Sequence[str]) -> dict[str, Any]:
    return {
        "dataset_dir": str(found.dataset.root),
        "layout": found.dataset.layout,
        "label_scheme": found.scheme.name,
        "modalities": list(modalities),
        "seed": None,
        "ratios": None,
        "folds": None,
        "fold": None,
        "fold_part": None,
    }


def _skipped(found: Survey) -> list[dict[str, str]]:
    return [{"case": name, "problem": problem} for name, problem in found.problems.items()]


def table(found: Survey) -> str:
    """What a data set holds, for people."""
    dataset, scheme = found.dataset, found.scheme
    read = [fact for fact in found.facts if fact.shape]
    patients = len({case.patient for case in dataset.cases})
    lines = [
        f"data set     {dataset.root} ({dataset.layout})",
        f"cases        {len(dataset.cases)} with label ({patients} patients), {len(dataset.unlabelled)} without",
        f"shapes       {_tally('x'.join(map(str, fact.shape)) for fact in read)}",
        f"spacings mm  {_tally(' x '.join(f'{size:g}' for size in fact.spacing_mm) for fact in read)}",
        f"labels       scheme {scheme.name}",
    ]
    voxels: Counter[int] = Counter()
    cases_with: Counter[int] = Counter()
    for fact in found.facts:
        voxels.update(fact.label_counts)
        cases_with.update(fact.label_counts.keys())
    for value in sorted(voxels):
        tissue = scheme.labels.get(value, "not in the scheme") if value else "background"
        lines.append(f"  {value:>5}  {tissue:<32}{voxels[value]:>14,} voxels in {_cases(cases_with[value])}")
    # The sentence that refuses or skips them says what is wrong with each.
    lines.append(f"problems     {f'in {_cases(len(found.problems))}' if found.problems else 'none'}")
    return "\n".join(lines)


def _tally(values: Iterable[str]) -> str:
    return ", ".join(f"{value} ({_cases(count)})" for value, count in Counter(values).most_common())


def _cases(count: int) -> str:
    return f"{count} case{'' if count == 1 else 's'}"


def main(argv: list[str] | None = None) -> int:
    """Print what a data set holds and write its datalist."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cases", description="Find, check and split a data set.")
    parser.add_argument("--dataset_dir", required=True, help="folder in a known layout, or phantom")
    parser.add_argument("--output", default="datalist.json", help="file to write (default %(default)s)")
    parser.add_argument("--label_scheme", default=AUTO, help=f"{AUTO} (default) or one of {', '.join(SCHEMES)}")
    parser.add_argument(
        "--ratios",
        nargs=3,
        type=float,
        default=RATIOS,
        metavar=("TRAIN", "VALID", "TEST"),
        help="default 0.7 0.15 0.15",
    )
    parser.add_argument("--folds", type=int, help="k-fold: number of folds; the test part is set aside first")
    parser.add_argument("--fold", type=int, help="k-fold: the fold to hold out, from 0")
    parser.add_argument(
        "--fold_part",
        choices=("validation", "test"),
        default="validation",
        help="what that fold is; test: all patients are dealt, and each is scored once over all folds",
    )
    parser.add_argument("--seed", type=int, default=42, help="of the split (default %(default)s)")
    parser.add_argument("--replicate", type=int, default=1, help="list each case N times, to rehearse a larger set")
    parser.add_argument("--skip_bad_cases", action="store_true", help="leave out unusable cases instead of stopping")
    parser.add_argument("--modalities", nargs="+", default=list(MODALITIES), help="image channels, in the order wanted")
    options = parser.parse_args(argv)

    def run() -> int:
        found = survey_labelled(_resolve(options.dataset_dir), options.label_scheme, options.modalities)
        print(table(found))
        datalist = _split(
            found,
            options.ratios,
            options.seed,
            options.folds,
            options.fold,
            options.replicate,
            options.skip_bad_cases,
            options.modalities,
            options.fold_part,
        )
        write_json(options.output, datalist)
        print(f"split        {', '.join(f'{len(datalist[part])} {part}' for part in PARTS)} (seed {options.seed})")
        print(f"datalist     {Path(options.output).resolve()}")
        return 0

    return one_sentence(run)


if __name__ == "__main__":
    raise SystemExit(main())
