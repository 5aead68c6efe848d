"""Slices as pictures, in milliseconds: NumPy paints, Pillow enlarges and encodes. For the eye, not for measuring."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

FILL_OPACITY = 0.3
CAPTION_PIXELS = 26
LETTER_PIXELS = 14
GAP_PIXELS = 8
JPEG_QUALITY = 88


def enlarged(plane: NDArray, height: int, steps_mm: tuple[float, float], smooth: bool) -> NDArray[np.uint8]:
    """A slice at ``height`` screen pixels, as wide as its millimetres ask.

    Args:
        plane: uint8, (rows, columns).
        height: of the result, in pixels.
        steps_mm: distance of rows and of columns.
        smooth: interpolate (grey values) or repeat voxels (masks).
    """
    rows, columns = plane.shape
    width = max(1, round(height * columns * steps_mm[1] / (rows * steps_mm[0])))
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(plane).resize((width, height), how))


def windowed(plane: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey values: the lower end of ``window`` black, the upper white."""
    low, high = window
    return (np.clip((plane - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1) * 255).astype(np.uint8)


def with_regions(
    grey: NDArray[np.uint8], bits: NDArray[np.uint8], colours: Sequence[str], opacity: float = FILL_OPACITY
) -> NDArray[np.uint8]:
    """Fill and outline regions on a picture.

    Args:
        grey: (height, width).
        bits: of the same shape; bit k is set inside the region of colour k, from the outermost in.
        colours: ``#rrggbb`` a region.
        opacity: of the fill.

    Returns:
        (height, width, 3).
    """
    # Every combination of regions has one tint: a table of them is looked up once a pixel.
    shares = np.zeros((2 ** len(colours), 1), np.float32)
    tints = np.zeros((2 ** len(colours), 3), np.float32)
    lines = np.zeros((2 ** len(colours), 3), np.uint8)
    for value in range(1, len(shares)):
        innermost = ImageColor.getrgb(colours[value.bit_length() - 1])
        shares[value], tints[value], lines[value] = opacity, np.multiply(opacity, innermost), innermost
    inside = bits > 0
    picture = np.repeat(grey[..., None], 3, axis=2)
    found = bits[inside]
    picture[inside] = (grey[inside][:, None] * (1 - shares[found]) + tints[found]).astype(np.uint8)
    border = inside & _is_border(bits)
    picture[border] = lines[bits[border]]
    return picture


def _is_border(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a region ends within two pixels; the line lies inside of it."""
    border = np.zeros(bits.shape, bool)
    for step in (1, 2):
        for axis in (0, 1):
            for shift in (step, -step):
                border |= (bits & ~np.roll(bits, shift, axis)) > 0
    return border


def side_by_side(pictures: Mapping[str, NDArray[np.uint8]], edges: str, legend: Mapping[str, str]) -> NDArray[np.uint8]:
    """Pictures in a row, each under its title, with orientation letters and one legend below.

    Args:
        pictures: title to (height, width, 3), all of one shape.
        edges: what lies at the left, right, top and bottom edge, a letter each.
        legend: name to colour.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    texts, written = _texts(tuple(pictures), height, width, edges, tuple(legend.items()))
    canvas = np.zeros_like(texts)
    for index, picture in enumerate(pictures.values()):
        left = index * (width + GAP_PIXELS)
        canvas[CAPTION_PIXELS : CAPTION_PIXELS + height, left : left + width] = picture
    canvas[written] = texts[written]
    return canvas


@lru_cache(maxsize=16)
def _texts(
    titles: tuple[str, ...], height: int, width: int, edges: str, legend: tuple[tuple[str, str], ...]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """All lettering on black, and where there is any: it stays while sliders move, and costs more than the slices."""
    size = (len(titles) * width + (len(titles) - 1) * GAP_PIXELS, height + 2 * CAPTION_PIXELS)
    canvas = Image.new("RGB", size)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(LETTER_PIXELS)
    places = ((2, height // 2), (width - 12, height // 2), (width // 2, 0), (width // 2, height - LETTER_PIXELS - 3))
    for index, title in enumerate(titles):
        left = index * (width + GAP_PIXELS)
        draw.text((left + 4, 4), title, fill="white", font=font)
        for letter, (x, y) in zip(edges, places, strict=True):
            draw.text((left + x, CAPTION_PIXELS + y), letter, fill="white", font=font)
    x = 4
    for name, colour in legend:
        draw.rectangle((x, size[1] - 19, x + 12, size[1] - 7), fill=colour)
        draw.text((x + 18, size[1] - 22), name, fill="white", font=font)
        x += 34 + int(font.getlength(name))
    lettering = np.asarray(canvas)
    return lettering, lettering.any(axis=2)


def encode(picture: NDArray[np.uint8], kind: str) -> bytes:
    """A picture (height, width, 3) as the bytes of a ``jpeg`` or ``png`` file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=kind, **({"quality": JPEG_QUALITY} if kind == "jpeg" else {}))
    return buffer.getvalue()
