"""Preprocess a data set once: ``python -m scripts.store --dataset_dir DIR --store_dir OUT``, from ``bundle/``.

The deterministic part of the recipe runs once a case; training then maps the results into memory and reads a patch, and
nothing else, for a sample (configs/data/store.json). N machines share the work by ``--shard I/N``, I from 0: into one
folder, or into one each whose contents are copied together afterwards. Where each machine was given a share of the
files instead, ``--only_present`` takes what is there.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts import phantom
from scripts.datalists import entries, items
from scripts.errors import InputError, first_line, one_sentence
from scripts.layouts import find_dataset
from scripts.store_build import build, verify
from scripts.validate import check_cases

BUNDLE = Path(__file__).resolve().parents[1]


def recipe_of(config_files: Sequence[str], overrides: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The deterministic transforms and the modalities that configs define.

    Args:
        config_files: in the order in which they override each other; one text may be a list of them, as for
            ``monai.bundle run``.
        overrides: knobs to set.

    Raises:
        InputError: a file is absent, or the text is no list.
    """
    if len(config_files) == 1 and config_files[0].startswith("["):
        config_files = _listed(config_files[0])
    for file in config_files:
        if not Path(file).is_file():
            raise InputError(f"{file}: there is no such config; check --config_file.")
    parser = ConfigParser()
    try:
        parser.read_config([str(file) for file in config_files])
        parser.update(overrides)
        absent = [key for key in ("deterministic_transforms", "modalities") if key not in parser.get()]
    except KeyError as error:
        # An override alone refers to what only train.json has.
        absent = [str(error.args[0]).removeprefix("query key: ")]
    except (ValueError, AttributeError) as error:
        # A text that is no JSON or YAML, a file whose ending is of neither, or a list where names are wanted.
        raise InputError(
            f"{', '.join(map(str, config_files))}: cannot be read as a config ({first_line(error)}); correct the file."
        ) from error
    if absent:
        raise InputError(
            f"{', '.join(map(str, config_files))}: {', '.join(absent)} is not defined; name configs/train.json first."
        )
    return parser.get_parsed_content("deterministic_transforms"), list(parser.get_parsed_content("modalities"))


def _listed(text: str) -> list[str]:
    try:
        return [str(file) for file in ast.literal_eval(text)]
    except (ValueError, SyntaxError) as error:
        raise InputError(
            f"--config_file is {text}, which is no list; write \"['configs/train.json','configs/full.json']\", or the "
            "files one after the other."
        ) from error


def share(everything: Sequence[Any], shard: str) -> list[Any]:
    """The part ``I/N`` of a sequence: every N-th element from the I-th, I from 0.

    Raises:
        InputError: it is not of that form, or I is not below N.
    """
    index, _, count = shard.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"shard is '{shard}', but I/N with I from 0 to N - 1 is wanted, for example 0/4.")
    return list(everything[int(index) :: int(count)])


def fill(options: argparse.Namespace) -> int:
    """Preprocess the cases of a data set; returns the exit status."""
    overrides: dict[str, Any] = {"spacing": options.spacing} if options.spacing else {}
    transforms, modalities = recipe_of(options.config_file, overrides)
    dataset = find_dataset(phantom.resolve(options.dataset_dir), modalities)
    mine = share(dataset.cases, options.shard)
    # Problems of the folder itself (a missing file) belong to the first shard, so that a set of shards tells each once.
    first = int(options.shard.split("/")[0]) == 0
    problems = dict(dataset.problems) if first and not options.only_present else {}
    facts = check_cases(mine, len(modalities), options.workers)
    problems |= {case.name: fact.problems[0] for case, fact in zip(mine, facts, strict=True) if fact.problems}
    usable = [case for case in mine if case.name not in problems]
    listed = items({"dataset_dir": str(dataset.root), "cases": entries(usable, dataset.root)}, "cases")
    problems |= build(listed, transforms, options.store_dir, options.workers, options.rebuild)
    made = len(usable) - len(problems.keys() & {case.name for case in usable})
    sys.stdout.write(f"{options.store_dir}: {made} of {len(mine)} cases of shard {options.shard} are in the store\n")
    return report(problems)


def check(options: argparse.Namespace) -> int:
    """Verify a store; returns the exit status."""
    count, problems = verify(options.store_dir)
    sys.stdout.write(f"{options.store_dir}: {count - len(problems)} of {count} cases are sound\n")
    return report(problems)


def report(problems: dict[str, str]) -> int:
    """Name the cases that failed, one a line; 1 if there are any."""
    for name, problem in sorted(problems.items()):
        sys.stderr.write(f"  {name}: {problem}\n")
    return 1 if problems else 0


def main(argv: list[str] | None = None) -> int:
    """Fill or verify a store."""
    parser = argparse.ArgumentParser(prog="python -m scripts.store", description="Preprocess a data set once.")
    parser.add_argument("--store_dir", required=True, help="folder of the store")
    parser.add_argument("--dataset_dir", help="folder in a known layout, or phantom")
    parser.add_argument("--shard", default="0/1", help="share of the cases to prepare, I/N with I from 0")
    parser.add_argument(
        "--only_present",
        action="store_true",
        help="leave cases of which a file is missing to other machines, where each was given a share of the files",
    )
    parser.add_argument("--spacing", nargs=3, type=float, metavar="MM", help="as the knob; default: the config's")
    parser.add_argument(
        "--config_file",
        nargs="+",
        default=[str(BUNDLE / "configs" / "train.json")],
        help="configs that define deterministic_transforms, as in training or one by one (default: train.json)",
    )
    parser.add_argument("--workers", type=int, help="cases prepared at a time; default: all cores")
    parser.add_argument("--rebuild", action="store_true", help="make stale cases anew")
    parser.add_argument("--verify", action="store_true", help="compare every case with its manifest instead")
    options = parser.parse_args(argv)
    if not options.verify and not options.dataset_dir:
        parser.error("--dataset_dir is required, unless --verify is given")
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}, but at least 1 is wanted")
    if options.spacing and min(options.spacing) < 0:
        parser.error(f"--spacing is {options.spacing}, but sizes in mm are wanted, or 0 to keep the data's own")
    return one_sentence(lambda: check(options) if options.verify else fill(options))


if __name__ == "__main__":
    raise SystemExit(main())
