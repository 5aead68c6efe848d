"""Lab 10: pictures of skin lesions, and two ways of sharing them out: as a published experiment did, and by lesion."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.files import write_json
from skin_lesions import synthetic
from skin_lesions.classes import CLASSES
from skin_lesions.ham10000 import Image, read_images
from skin_lesions.splits import split

# The published experiment copied rare classes up to about 5,000 images; the largest has 6,705 (Tschandl et al. 2018).
COPIED_UP_TO = 5000 / 6705
# Training, validation and test of the published split, per file.
PUBLISHED_RATIOS = (0.8, 0.1, 0.1)
# Shares of the lesions, as the bundle's split takes them; the last part is held out. A small study sees little, and
# much judges it, so that its score means something.
SEEN_AND_HELD_OUT = (0.2, 0.1, 0.7)
SEED = 42
# Of a class that is made smaller, so that each of three parts gets some.
LEAST_LESIONS = 8

Entry = dict[str, Any]


def pictures(source: str) -> Path:
    """The folder that the ``IMAGES`` parameter means.

    Args:
        source: ``synthetic``, drawn lesions, made on first use in the user's cache; or a folder in HAM10000's layout.
    """
    return synthetic.resolve(source if source == synthetic.WORD else Path(source).expanduser().resolve())


def images_of(dataset_dir: Path, most: int) -> list[Image]:
    """The images that a folder lists, or those of every n-th lesion of each class: classes stay as rare as they are.

    Args:
        dataset_dir: as :func:`pictures` gives it.
        most: about how many images to use.

    Raises:
        InputError: the folder is not in HAM10000's layout.
    """
    images = read_images(dataset_dir)
    chosen: set[str] = set()
    for label in range(len(CLASSES)):
        lesions = list(dict.fromkeys(image.lesion for image in images if image.label == label))
        step = min(math.ceil(len(images) / most), max(1, len(lesions) // LEAST_LESIONS))
        chosen.update(lesions[::step])
    return [image for image in images if image.lesion in chosen]


def counts(images: Sequence[Image]) -> dict[str, int]:
    """Images of each class, by its code."""
    found = Counter(image.label for image in images)
    return {code: found[label] for label, code in enumerate(CLASSES)}


def held_out(images: Sequence[Image], seed: int = SEED) -> tuple[list[Image], list[Image]]:
    """Two parts that share no lesion: what the experiment may see, and what judges it."""
    parts = split(images, SEEN_AND_HELD_OUT, seed)
    return parts["training"] + parts["validation"], parts["test"]


def copied(images: Sequence[Image], up_to: float = COPIED_UP_TO) -> list[Image]:
    """The images with those of rare classes repeated in turn; a copy of a file has the same pixels.

    Args:
        images: any order.
        up_to: images of each class at least, as a share of the largest class.
    """
    members: dict[int, list[Image]] = {}
    for image in images:
        members.setdefault(image.label, []).append(image)
    wanted = round(up_to * max(map(len, members.values())))
    return [same[index % len(same)] for same in members.values() for index in range(max(wanted, len(same)))]


def split_by_file(images: Sequence[Image], seed: int = SEED) -> dict[str, list[Image]]:
    """The published split: files at random, whatever they show. (Published without a seed.)"""
    shuffled = random.Random(seed).sample(list(images), len(images))
    first, second = (round(sum(PUBLISHED_RATIOS[:end]) * len(shuffled)) for end in (1, 2))
    return {"training": shuffled[:first], "validation": shuffled[first:second], "test": shuffled[second:]}


def write_datalist(parts: Mapping[str, Sequence[Image]], target: Path) -> dict[str, list[Entry]]:
    """Write a split as MONAI and the finished bundle read it.

    Args:
        parts: name of a part to its images.
        target: the JSON file.

    Returns:
        The same parts as entries: ``image`` (path in the data set), ``label``, ``lesion``, ``name``.
    """
    entries = {part: [_entry(image) for image in images] for part, images in parts.items()}
    write_json(target, {"classes": list(CLASSES), **entries})
    return entries


def _entry(image: Image) -> Entry:
    return {"image": image.file, "label": image.label, "lesion": image.lesion, "name": image.name}
