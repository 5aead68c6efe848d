"""Pictures of a case, for places that show nothing else: a montage as PNG, and a walk through all slices as GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from scripts.slices import CONVENTION, EDGES, PLANES, plane_slice
from scripts.viewer.case import ViewedCase
from scripts.viewer.data import INSIDE_BIT, LARGEST_ID, PREDICTION_SHIFT, STEPS, Layer, Packed, layers

# Pixels of the whole montage; the scale follows from it.
MONTAGE_WIDTH, TITLE_HEIGHT, LEGEND_HEIGHT, LEGEND_WIDTH = 1100, 26, 40, 620
GIF_WIDTH, FRAME_MS = 480, 100
# Greys of the montage, and of the GIF, whose compression lives on repetition.
GREYS, GIF_GREYS = 152, 48
GAP = 4
# Share of a region's colour in the tint that its prediction is drawn as, and how many greys shine through it.
TINT, TINTS = 0.5, 24
INK, SOFT, BLACK = (255, 255, 255), (190, 190, 190), (0, 0, 0)


def montage(case: ViewedCase, packed: Packed) -> bytes:
    """A PNG: a row a plane, cut where the tumour is largest, a column a modality.

    Of two label maps the truth is drawn as lines and the prediction as tints; of one, lines.

    Args:
        case: for names and scores.
        packed: its volumes.
    """
    drawn, names = layers(case.scheme), list(packed.images)
    scale = _scale(packed, MONTAGE_WIDTH, [PLANES["sagittal"]] * len(names))
    rows = [
        [_panel(packed, name, plane, packed.start[axis], drawn, case, scale, GREYS) for name in names]
        for plane, axis in PLANES.items()
    ]
    column = max(row[0].shape[1] for row in rows) + GAP
    height = sum(row[0].shape[0] + GAP for row in rows)
    width = max(column * len(names), LEGEND_WIDTH)
    sheet = np.zeros((TITLE_HEIGHT + height + LEGEND_HEIGHT, width), np.uint8)
    letters, top = [], TITLE_HEIGHT
    for row, plane in zip(rows, PLANES, strict=True):
        for index, panel in enumerate(row):
            left = index * column + (column - panel.shape[1]) // 2
            sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
            letters.append((plane, left, top, panel.shape))
        top += row[0].shape[0] + GAP
    image = _image(sheet, drawn, GREYS).convert("RGB")
    pen = ImageDraw.Draw(image)
    for plane, left, above, shape in letters:
        _letters(pen, plane, left, above, shape, SOFT, BLACK)
    pen.text((6, 5), heading(case), fill=INK, font=_font(14))
    for index, name in enumerate(names):
        place = (index * column + 6, TITLE_HEIGHT + 4)
        pen.text(place, name, fill=INK, font=_font(14), stroke_width=2, stroke_fill=BLACK)
    _legend(pen, top, drawn, case)
    return _encoded(image, "png")


def heading(case: ViewedCase) -> str:
    """The title with the Dice of each region."""
    dice = ", ".join(f"{region} {value:.3f}" for region, value in case.dice().items())
    return f"{case.title or 'Case'}: Dice {dice}" if dice else case.title or "Case"


def animation(case: ViewedCase, packed: Packed, modality: str | None = None) -> bytes:
    """A GIF through the whole brain: axial, coronal and sagittal slices side by side, a frame a slice, 0.1 s each.

    The shorter axes take some slices twice, so that all three planes end together.

    Args:
        case: for names and scores.
        packed: its volumes.
        modality: which is shown; None takes T1gd, or the first where there is none.
    """
    name = modality or ("T1gd" if "T1gd" in case.images else next(iter(case.images)))
    drawn = layers(case.scheme)
    scale = _scale(packed, GIF_WIDTH, list(PLANES.values()))
    frames = max(packed.codes.shape)
    pictures: list[Image.Image] = []
    for frame in range(frames):
        panels = {}
        for plane, axis in PLANES.items():
            index = round(frame * (packed.codes.shape[axis] - 1) / max(frames - 1, 1))
            panels[plane] = _panel(packed, name, plane, index, drawn, case, scale, GIF_GREYS)
        height = max(panel.shape[0] for panel in panels.values())
        sheet = np.zeros((height, sum(panel.shape[1] + GAP for panel in panels.values()) - GAP), np.uint8)
        letters, left = [], 0
        for plane, panel in panels.items():
            top = (height - panel.shape[0]) // 2
            sheet[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
            letters.append((plane, left, top, panel.shape))
            left += panel.shape[1] + GAP
        pictures.append(_image(sheet, drawn, GIF_GREYS))
        pen = ImageDraw.Draw(pictures[-1])
        for plane, beside, above, shape in letters:
            _letters(pen, plane, beside, above, shape, GIF_GREYS * 3 // 4, 0)
    options = {"save_all": True, "append_images": pictures[1:], "duration": FRAME_MS, "loop": 0, "optimize": False}
    return _encoded(pictures[0], "gif", **options)


def _scale(packed: Packed, width: int, axes: Sequence[int]) -> float:
    """Pixels a millimetre, for panels cut across ``axes`` to fill a width."""
    spacing_mm = np.linalg.norm(packed.affine[:3, :3], axis=0)
    # Columns run along the first axis that a plane is not cut across.
    columns = [1 if axis == 0 else 0 for axis in axes]
    return (width - GAP * (len(axes) - 1)) / float(sum(packed.codes.shape[c] * spacing_mm[c] for c in columns))


def _panel(
    packed: Packed,
    name: str,
    plane: str,
    index: int,
    drawn: Sequence[Layer],
    case: ViewedCase,
    scale: float,
    greys: int,
) -> NDArray[np.uint8]:
    """One slice with its overlay, as indices into the palette of :func:`_image`, (rows, columns)."""
    spacing_mm = np.linalg.norm(packed.affine[:3, :3], axis=0)
    across, down = (axis for axis in range(3) if axis != PLANES[plane])
    codes = plane_slice(packed.codes, plane, index)
    size = (
        max(round(codes.shape[1] * spacing_mm[across] * scale), 1),
        max(round(codes.shape[0] * spacing_mm[down] * scale), 1),
    )
    resized = Image.fromarray(_windowed(packed, name, plane, index)).resize(size, Image.Resampling.BILINEAR)
    grey = np.asarray(resized).astype(np.uint16)
    pixels = (grey * greys // 256).astype(np.uint8)
    if not (codes & ~np.uint8(INSIDE_BIT)).any():
        return pixels
    large = np.asarray(Image.fromarray(codes).resize(size, Image.Resampling.NEAREST))
    predicted = (large >> PREDICTION_SHIFT) & LARGEST_ID
    lined = large & LARGEST_ID if case.truth is not None else predicted
    if case.truth is not None and case.prediction is not None:
        for position, layer in enumerate(drawn):
            mask = _members(layer)[predicted]
            pixels[mask] = greys + len(drawn) + position * TINTS + grey[mask] * TINTS // 256
    taken = np.zeros(lined.shape, bool)
    for position, layer in enumerate(drawn):
        # Where an outer region ends at the same border, the line moves inwards, so that both are seen.
        line = _border(_members(layer)[lined] & ~taken)
        pixels[line] = greys + position
        taken |= line
    return pixels


def _windowed(packed: Packed, name: str, plane: str, index: int) -> NDArray[np.uint8]:
    """Grey values of a slice under the first window."""
    (low, high), (first, last) = packed.scales[name], packed.windows[name]
    intensities = low + (np.arange(256, dtype=np.float32) - 1) / STEPS * (high - low)
    table = np.clip((intensities - first) / (last - first) * 255, 0, 255)
    table[0] = 0
    return table.astype(np.uint8)[plane_slice(packed.images[name], plane, index)]


def _members(layer: Layer) -> NDArray[np.bool_]:
    """For each id whether it belongs to a layer."""
    return np.isin(np.arange(LARGEST_ID + 1), layer.ids)


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask that are at most two pixels from its outside."""
    inner = mask.copy()
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _image(sheet: NDArray[np.uint8], drawn: Sequence[Layer], greys: int) -> Image.Image:
    """Indices with the palette that they point into: greys, then the layers, then each layer's tints over greys."""
    colours = [[level] * 3 for level in np.linspace(0, 255, greys).astype(int).tolist()]
    colours += [_rgb(layer.colour) for layer in drawn]
    for layer in drawn:
        base = np.array(_rgb(layer.colour))
        colours += [((1 - TINT) * grey + TINT * base).astype(int).tolist() for grey in np.linspace(0, 255, TINTS)]
    image = Image.fromarray(sheet).convert("P")
    image.putpalette([part for colour in colours for part in colour])
    return image


def _letters(
    pen: ImageDraw.ImageDraw, plane: str, left: int, top: int, shape: tuple[int, ...], ink: Any, rim: Any
) -> None:
    """The directions at the edges of a panel."""
    height, width = shape
    places = ((9, height // 2), (width - 9, height // 2), (width // 2, 9), (width // 2, height - 9))
    for letter, (x, y) in zip(EDGES[plane], places, strict=True):
        place = (left + x, top + y)
        pen.text(place, letter, fill=ink, font=_font(12), anchor="mm", stroke_width=2, stroke_fill=rim)


def _legend(pen: ImageDraw.ImageDraw, top: int, drawn: Sequence[Layer], case: ViewedCase) -> None:
    """Colours by name, what lines and tints are, and which way round the slices lie."""
    left = 6.0
    for layer in drawn:
        pen.rectangle((left, top + 6, left + 10, top + 16), fill=tuple(_rgb(layer.colour)))
        text = layer.name if layer.key == layer.name else f"{layer.key} {layer.name}"
        pen.text((left + 15, top + 4), text, fill=INK, font=_font(12))
        left += 15 + pen.textlength(text, font=_font(12)) + 18
    if len(case.maps) == 2:
        pen.text((left, top + 4), "lines: truth, tints: prediction", fill=SOFT, font=_font(12))
    elif case.maps:
        pen.text((left, top + 4), f"lines: {next(iter(case.maps))}", fill=SOFT, font=_font(12))
    pen.text((6, top + 22), CONVENTION, fill=SOFT, font=_font(11))


def _rgb(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
