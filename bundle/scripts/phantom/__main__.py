"""``python -m scripts.phantom``."""

from __future__ import annotations

import argparse
import sys

from scripts import phantom
from scripts.errors import one_sentence
from scripts.phantom.dataset import CASES, KINDS, SEED, SHAPE, SPACING_MM, STANDARD, UNLABELLED, generate


def main(argv: list[str] | None = None) -> int:
    """``python -m scripts.phantom``: make a set of any size."""
    parser = argparse.ArgumentParser(prog="python -m scripts.phantom", description=phantom.__doc__.split("\n\n")[0])
    parser.add_argument("--output", required=True, help="folder to make; it must not exist, or be empty")
    parser.add_argument("--cases", type=int, default=CASES, help="labelled cases (default %(default)s)")
    parser.add_argument("--unlabelled", type=int, default=UNLABELLED, help="cases without label (default %(default)s)")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, help="voxels of a volume, such as 240 240 155")
    parser.add_argument("--spacing_mm", type=float, default=SPACING_MM, help="voxel edge (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, other patients (default %(default)s)")
    parser.add_argument("--kind", choices=KINDS, default=STANDARD, help="of the patients (default %(default)s)")
    options = parser.parse_args(argv)

    def run() -> int:
        shape = tuple(options.shape)
        size = (options.cases, options.unlabelled, shape, options.spacing_mm)
        made = generate(options.output, *size, options.seed, kind=options.kind)
        print(f"{options.cases} labelled and {options.unlabelled} unlabelled SYNTHETIC cases in {made}")
        return 0

    return one_sentence(run)


if __name__ == "__main__":
    sys.exit(main())
