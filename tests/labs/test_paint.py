"""Slices as pictures: window, proportions, regions, letters and files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from labs.labkit import paint


def test_the_window_ends_are_black_and_white() -> None:
    grey = paint.windowed(np.array([[-9.0, -1.0, 0.0, 1.0, 9.0]], np.float32), (-1.0, 1.0))
    assert grey.tolist() == [[0, 0, 127, 255, 255]]


def test_a_constant_volume_has_a_window() -> None:
    assert paint.windowed(np.zeros((2, 2), np.float32), (0.0, 0.0)).tolist() == [[0, 0], [0, 0]]


def test_oblong_voxels_keep_their_proportions() -> None:
    assert paint.enlarged(np.zeros((10, 20), np.uint8), 100, (2.0, 1.0), smooth=True).shape == (100, 100)


def test_masks_are_enlarged_without_new_values() -> None:
    ids = np.array([[0, 3], [5, 0]], np.uint8)
    assert set(np.unique(paint.enlarged(ids, 33, (1.0, 1.0), smooth=False))) == {0, 3, 5}


def test_regions_are_filled_and_outlined_in_their_colours() -> None:
    bits = np.zeros((30, 30), np.uint8)
    bits[5:25, 5:25] = 0b01
    bits[10:20, 10:20] = 0b11
    picture = paint.with_regions(np.full((30, 30), 100, np.uint8), bits, ["#ff0000", "#0000ff"], opacity=0.5)
    assert picture[0, 0].tolist() == [100, 100, 100]
    assert picture[5, 15].tolist() == [255, 0, 0] and picture[10, 15].tolist() == [0, 0, 255]
    assert picture[8, 15].tolist() == [177, 50, 50] and picture[15, 15].tolist() == [50, 50, 177]


def test_pictures_stand_side_by_side_under_their_titles() -> None:
    one = np.full((60, 40, 3), 90, np.uint8)
    whole = paint.side_by_side({"left": one, "right": one // 2}, "RLAP", {"WT": "#56B4E9"})
    assert whole.shape == (60 + 2 * paint.CAPTION_PIXELS, 2 * 40 + paint.GAP_PIXELS, 3)
    body = whole[paint.CAPTION_PIXELS : -paint.CAPTION_PIXELS]
    assert np.median(body[:, :40]) == 90 and np.median(body[:, -40:]) == 45
    assert whole[: paint.CAPTION_PIXELS].any() and (whole[-paint.CAPTION_PIXELS :] == (0x56, 0xB4, 0xE9)).all(2).any()
    assert (body[:, :40] > 200).any(), "no orientation letters"


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_files_hold_the_picture(kind: str) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, 8:] = 200
    image = Image.open(io.BytesIO(paint.encode(picture, kind)))
    assert image.format == kind.upper() and np.abs(np.asarray(image).astype(int) - picture).max() < 12
