"""Pictures as tensors, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skin_lesions.errors import InputError
from skin_lesions.reading import ReadPictured, read_picture


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_red_first_rows_first(tmp_path: Path) -> None:
    pixels = noise(40, 60)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert read.dtype == torch.uint8
    assert np.array_equal(read.numpy(), pixels.transpose(2, 0, 1))


def test_shrinking_averages_areas_and_keeps_the_shape(tmp_path: Path) -> None:
    pixels = noise(80, 120)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png", longest_side=60)
    means = pixels.reshape(40, 2, 60, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert read.shape == (3, 40, 60)
    assert np.abs(read.numpy() - means).max() <= 1
    assert read_picture(tmp_path / "a.png", longest_side=120).shape == (3, 80, 120), "never enlarged"


def test_the_transform_keeps_all_else(tmp_path: Path) -> None:
    Image.fromarray(noise(32, 32)).save(tmp_path / "a.jpg")
    item = ReadPictured("image")({"image": str(tmp_path / "a.jpg"), "label": 3})
    assert item["label"] == 3
    assert item["image"].shape == (3, 32, 32)
    assert item["image"].meta["filename_or_obj"].endswith("a.jpg")


def absent(file: Path) -> None:
    """No file."""


def text(file: Path) -> None:
    file.write_text("no picture")


def truncated(file: Path) -> None:
    Image.fromarray(noise(64, 64)).save(file)
    file.write_bytes(file.read_bytes()[:2000])


def grey(file: Path) -> None:
    Image.fromarray(noise(64, 64)[..., 0]).save(file)


def grey_in_three_channels(file: Path) -> None:
    Image.fromarray(np.repeat(noise(64, 64)[..., :1], 3, axis=2)).save(file)


def four_channels(file: Path) -> None:
    Image.fromarray(noise(64, 64)).convert("CMYK").save(file)


def one_pixel(file: Path) -> None:
    Image.fromarray(noise(1, 1)).save(file)


def another_format(file: Path) -> None:
    Image.fromarray(noise(64, 64)).save(file, format="GIF")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (absent, "there is no such picture; add the file"),
        (text, r"is no readable JPEG or PNG \(unknown format\); replace"),
        (truncated, "is no readable JPEG or PNG .*truncated.*; replace"),
        (grey, r"is grey, a colour picture \(RGB\) is wanted; replace"),
        (grey_in_three_channels, "is grey, its three channels are the same"),
        (four_channels, r"is of mode CMYK, a colour picture \(RGB\) is wanted"),
        (one_pixel, "has 1 x 1 pixels, at least 32 x 32 are wanted; replace"),
        (another_format, "is no readable JPEG or PNG"),
    ],
)
def test_unfit_pictures_are_refused_in_one_sentence(tmp_path: Path, make, words: str) -> None:
    file = tmp_path / "a.jpg"
    make(file)
    with pytest.raises(InputError, match=words) as refusal:
        read_picture(file)
    assert str(refusal.value).startswith(str(file)) and "\n" not in str(refusal.value)
