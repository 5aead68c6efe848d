"""A packed case as what travels in a page: a JPEG mosaic a modality, lossless label ids, names and scores.

JPEG takes some more precision from the intensities. Label ids and the brain's outline do not travel as a PNG, because
browsers that guard against fingerprinting alter pixels read back from a canvas.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.figures import BLUE, VERMILLION, YELLOW
from scripts.slices import EDGES, PLANES
from scripts.viewer.case import ViewedCase
from scripts.viewer.data import Packed, layers

# A JPEG block is 8 x 8 pixels: tiles in multiples of it do not bleed into each other.
JPEG_BLOCK = 8
JPEG_QUALITIES = (80, 65, 50, 35)
# Of all mosaics as base64; with script, style and labels the page stays below 4 MB.
IMAGE_BYTES = 3_600_000
ERROR_COLOURS = {"missed": BLUE, "false": VERMILLION, "wrong": YELLOW}


def mosaic(volume: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Axial slices side by side.

    Args:
        volume: (H, W, D).

    Returns:
        (rows, columns): tile k is slice k, its rows along W and columns along H; see :func:`tiling`.
    """
    h, w, d = volume.shape
    across, width, height = tiling(volume.shape)
    sheet = np.zeros((math.ceil(d / across), height, across, width), np.uint8)
    for k in range(d):
        sheet[k // across, :w, k % across, :h] = volume[:, :, k].T
    return sheet.reshape(sheet.shape[0] * height, across * width)


def tiling(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Tiles in a row of the mosaic of a volume (H, W, D), and the width and height of a tile in pixels."""
    width, height = (math.ceil(size / JPEG_BLOCK) * JPEG_BLOCK for size in shape[:2])
    # As near to a square as it gets: browsers limit the longer side of a picture.
    return max(1, round(math.sqrt(shape[2] * height / width))), width, height


def encode(packed: Packed) -> dict[str, str]:
    """Modality to its mosaic as a JPEG in base64.

    All are of the best of ``JPEG_QUALITIES`` with which they fit into ``IMAGE_BYTES`` together; where none of them
    fits, of the lowest, and larger than that.
    """
    sheets = {name: Image.fromarray(mosaic(volume)) for name, volume in packed.images.items()}
    jpegs: dict[str, str] = {}
    for quality in JPEG_QUALITIES:
        jpegs = {name: _jpeg(sheet, quality) for name, sheet in sheets.items()}
        if sum(map(len, jpegs.values())) <= IMAGE_BYTES:
            break
    return jpegs


def _jpeg(sheet: Image.Image, quality: int) -> str:
    stream = io.BytesIO()
    sheet.save(stream, "jpeg", quality=quality, optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def payload(case: ViewedCase, packed: Packed, view: Mapping[str, Any]) -> dict[str, Any]:
    """All that the page's script is given, fit for JSON.

    Args:
        case: for names and scores.
        packed: its volumes.
        view: the state to begin with; see :mod:`scripts.viewer.view`.
    """
    across, width, height = tiling(packed.codes.shape)
    jpegs = encode(packed)
    to_file = np.linalg.inv(case.file_affine) @ packed.affine
    return {
        "title": case.title,
        "size": packed.codes.shape,
        "spacing": np.linalg.norm(packed.affine[:3, :3], axis=0).tolist(),
        "affine": packed.affine[:3].tolist(),
        "toFile": to_file[:3].tolist(),
        "tiles": {"across": across, "width": width, "height": height},
        "modalities": [
            {"name": name, "jpeg": jpegs[name], "scale": packed.scales[name], "window": packed.windows[name]}
            for name in packed.images
        ],
        # Slice by slice as the mosaics are: index (k * W + j) * H + i.
        "codes": base64.b64encode(zlib.compress(np.ascontiguousarray(packed.codes.T), 9)).decode("ascii"),
        "maps": list(case.maps),
        "layers": [vars(layer) for layer in layers(case.scheme)],
        "tissues": {str(value): name for value, name in (case.scheme.labels if case.scheme else {}).items()},
        "errorColours": ERROR_COLOURS,
        "planes": [{"name": name, "axis": axis, "edges": EDGES[name]} for name, axis in PLANES.items()],
        "start": packed.start,
        "volumes_ml": case.volumes_ml(),
        "dice": case.dice(),
        "view": dict(view),
    }
