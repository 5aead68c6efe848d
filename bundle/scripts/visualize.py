"""Look at a case from a shell: a page to click through, a montage or a GIF.

    python -m scripts.visualize CASE [--prediction FILE] [--out case.html|.png|.gif]
    python -m scripts.visualize --dataset_dir DIR [--case NAME | --sample N] ...

Without ``--out`` the page is written into the working directory as case.html.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import InputError, one_sentence
from scripts.labels import SCHEMES
from scripts.survey import AUTO
from scripts.viewer import CaseView, check_suffix
from scripts.viewer.case import load_viewed_case
from scripts.viewer.source import case_of_dataset, find_source

DEFAULT_OUT = "case.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the view of one case and say where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.visualize", description="Write a view of a case: a page to click through, or a picture."
    )
    parser.add_argument(
        "case_files",
        nargs="*",
        metavar="CASE",
        type=Path,
        help="a 4-D image, one file a modality, or the folder of one case",
    )
    parser.add_argument("--dataset_dir", help="take the case from this folder, or phantom")
    parser.add_argument("--case", help="with --dataset_dir: the name of the case")
    parser.add_argument("--sample", type=int, help="with --dataset_dir: its number, from 0 (default 0)")
    parser.add_argument("--label", type=Path, help="label map; by default the one that lies with the case, if any")
    parser.add_argument("--prediction", type=Path, help="label map of a model on the same grid")
    parser.add_argument("--label_scheme", default=AUTO, help=f"{AUTO} (default) or one of {', '.join(SCHEMES)}")
    parser.add_argument("--modalities", nargs="+", help="names of the image channels, by default those of the data set")
    parser.add_argument("--modality", help="which one a GIF shows (default T1gd)")
    parser.add_argument(
        "--out", type=Path, default=Path(DEFAULT_OUT), help="ends in .html, .png or .gif (default %(default)s)"
    )
    options = parser.parse_args(argv)
    return one_sentence(lambda: _visualize(options))


def _visualize(options: argparse.Namespace) -> int:
    check_suffix(options.out)
    if bool(options.case_files) == (options.dataset_dir is not None):
        raise InputError("a case is wanted, either as a path or by --dataset_dir; give one of the two.")
    if options.dataset_dir is None and (options.case is not None or options.sample is not None):
        raise InputError("--case and --sample choose from a data set; give its folder by --dataset_dir.")
    if options.case is not None and options.sample is not None:
        raise InputError("--case and --sample both name a case; give one of the two.")
    if options.modality is not None and options.out.suffix.lower() != ".gif":
        raise InputError(f"--modality chooses what a GIF shows, but {options.out} is none; leave it out.")
    if options.dataset_dir is not None:
        source = case_of_dataset(options.dataset_dir, options.case, options.sample or 0, options.modalities)
    else:
        files = options.case_files
        source = find_source(files[0] if len(files) == 1 else files, options.modalities)
    case = load_viewed_case(source, options.label, options.prediction, options.label_scheme)
    view = CaseView(case, gif_modality=options.modality)
    target = view.save(options.out).resolve()
    print(f"{view}\n{target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
