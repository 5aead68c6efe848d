"""A SYNTHETIC set of skin lesions in the layout of HAM10000, for machines that have not the real one.

Made on first use of the word ``synthetic``. Figures measured on it mean nothing clinically. Each class has a look of
its own (:mod:`skin_lesions.looks`), but the mean colour of a picture is drawn without regard to its class, so a
classifier of mean colours is at chance.
"""

from __future__ import annotations

import csv
import logging
import os
import secrets
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skin_lesions.errors import InputError
from skin_lesions.files import cache_dir, unwritable
from skin_lesions.ham10000 import METADATA
from skin_lesions.looks import LOOKS

logger = logging.getLogger(__name__)

# What a ``dataset_dir`` knob may say instead of a folder.
WORD = "synthetic"
# Part of the cache folder's name: raise it whenever a pixel changes.
VERSION = 1
SEED = 0
HEIGHT, WIDTH = 96, 128
# Rare and frequent classes as in HAM10000 (7,470 lesions: 228, 327, 727, 73, 614, 5,403, 98), the rare ones less so,
# since each part of a split needs some.
LESIONS = {"akiec": 16, "bcc": 20, "bkl": 34, "df": 12, "mel": 32, "nv": 130, "vasc": 14}
# Share of the lesions with 1, 2 and 3 images; HAM10000 has 1.34 images a lesion.
IMAGES_PER_LESION = (0.73, 0.2, 0.07)
FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
# Mean colour (RGB, 0 to 255) and how far a lesion is from its skin in each channel: pale to dark brown.
SKIN = np.array([190.0, 150.0, 125.0])
TINT = np.array([-70.0, -75.0, -60.0])
JPEG_QUALITY = 92


def resolve(dataset_dir: str | os.PathLike[str]) -> Path:
    """The folder that a ``dataset_dir`` knob means; the word ``synthetic`` is a set made on first use."""
    if os.fspath(dataset_dir) != WORD:
        return Path(dataset_dir)
    target = cache_dir() / f"{WORD}-{VERSION}-seed{SEED}"
    if not (target / METADATA).is_file():
        logger.info("making the synthetic data set in %s", target)
        try:
            generate(target)
        except InputError:
            # Another process may have been faster; the pictures are the same.
            if not (target / METADATA).is_file():
                raise
    return target


def generate(target: str | os.PathLike[str], lesions: dict[str, int] | None = None, seed: int = SEED) -> Path:
    """Make a set; the folder appears under its name when it is whole, and not at all if anything fails.

    Args:
        target: the folder to make; it must not exist.
        lesions: number of lesions of each class; None takes ``LESIONS``.
        seed: another seed, other lesions.

    Raises:
        InputError: the target exists or cannot be written.
    """
    target = Path(target)
    if target.exists():
        raise InputError(f"{target}: exists already; choose another folder or remove it.")
    aside = target.with_name(f".part-{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        _write(aside, lesions or LESIONS, seed)
        aside.rename(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def draw(look: str, lesion_seed: list[int], view: int) -> NDArray[np.uint8]:
    """One picture of a lesion, (H, W, 3).

    Args:
        look: name of the class.
        lesion_seed: what the lesion's shape depends on; pictures of one lesion share it.
        view: number of the picture: another place, turn, size, light and colour.
    """
    rng = np.random.default_rng([*lesion_seed, 1, view])
    x, y = _lesion_coordinates(rng)
    # Each picture draws the same lesion: its own random numbers begin anew.
    difference = LOOKS[look](x, y, np.random.default_rng([*lesion_seed, 0]))
    contrast = TINT * rng.uniform(0.7, 1.2) + rng.normal(0, 8, 3)
    picture = difference[..., None] * contrast + _skin_texture(rng)
    mean = SKIN * rng.uniform(0.8, 1.1) + rng.normal(0, 10, 3)
    return np.clip(picture - picture.mean((0, 1)) + mean, 0, 255).round().astype(np.uint8)


def _lesion_coordinates(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel centres in units of the lesion's radius, seen from its centre and turned, (H, W) each."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    radius = HEIGHT * rng.uniform(0.28, 0.38)
    rows -= HEIGHT * (0.5 + rng.uniform(-0.06, 0.06))
    columns -= WIDTH * (0.5 + rng.uniform(-0.06, 0.06))
    angle = rng.uniform(0, 2 * np.pi)
    x = np.cos(angle) * columns + np.sin(angle) * rows
    y = np.cos(angle) * rows - np.sin(angle) * columns
    return x / radius, y / radius


def _skin_texture(rng: np.random.Generator) -> NDArray[np.float64]:
    """A gradient of light, blotches and grain around 0, (H, W, 3)."""
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    slope = rng.normal(0, 8, 2)
    light = slope[0] * rows + slope[1] * columns
    coarse = Image.fromarray(rng.normal(0, 8, (6, 8)).astype(np.float32))
    blotches = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float64)
    return (light + blotches)[..., None] + rng.normal(0, 4, (HEIGHT, WIDTH, 3))


def _write(folder: Path, lesions: dict[str, int], seed: int) -> None:
    """Pictures, in two folders as in the release of HAM10000, and the table."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    rows = []
    rng = np.random.default_rng(seed)
    for label, (look, count) in enumerate(lesions.items()):
        for number in range(count):
            lesion = f"SYN_{look}_{number:04d}"
            for view in range(rng.choice(3, p=IMAGES_PER_LESION) + 1):
                image = f"SYNTHETIC_{len(rows):05d}"
                picture = Image.fromarray(draw(look, [seed, label, number], view))
                picture.save(folder / FOLDERS[len(rows) % 2] / f"{image}.jpg", quality=JPEG_QUALITY)
                rows.append({"lesion_id": lesion, "image_id": image, "dx": look, "dx_type": WORD})
    with (folder / METADATA).open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
