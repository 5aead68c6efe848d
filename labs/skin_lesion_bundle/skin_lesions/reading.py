"""Pictures, from file to tensor, and those that are refused."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import Compose, MapTransform
from PIL import Image, UnidentifiedImageError

from skin_lesions.errors import InputError

# Below this a picture shows no structure of a lesion; HAM10000's have 450.
MIN_SIDE = 32


def read_picture(file: str | Path, longest_side: int | None = None) -> torch.Tensor:
    """A JPEG or PNG as uint8 (3, H, W), red first.

    Args:
        file: the picture.
        longest_side: larger ones are shrunk to it by averaging areas, their shape kept; None keeps the size.

    Raises:
        InputError: it is absent, unreadable, not in colour, or too small.
    """
    try:
        with Image.open(file, formats=("JPEG", "PNG")) as picture:
            _refuse_unfit(file, picture)
            pixels = np.array(_shrunk(picture, longest_side))
    except FileNotFoundError as error:
        raise InputError(f"{file}: there is no such picture; add the file or correct the path.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise InputError(
            f"{file}: is no readable JPEG or PNG ({_reason(error)}); replace the file or take it out."
        ) from error
    if (pixels == pixels[..., :1]).all():
        raise InputError(
            f"{file}: is grey, its three channels are the same, a colour picture is wanted; replace or remove it."
        )
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


class ReadPictured(MapTransform):
    """Read the pictures under ``keys``, paths before and uint8 (3, H, W) after; the path stays in the meta data.

    Args:
        keys: of the paths.
        longest_side: as in :func:`read_picture`.
    """

    def __init__(self, keys: KeysCollection, longest_side: int | None = None) -> None:
        super().__init__(keys)
        self.longest_side = longest_side

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with tensors.

        Raises:
            InputError: a picture is unfit.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = MetaTensor(read_picture(item[key], self.longest_side), meta={"filename_or_obj": str(item[key])})
        return item


class UntrackedCompose(Compose):
    """Transforms in a row that keep no record of what they did, which takes longer than doing it.

    Nobody inverts them. MONAI's switch is for the whole process; it is put back after each item.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return the item; arguments as ``Compose`` takes them."""
        tracked = get_track_meta()
        set_track_meta(False)
        try:
            return super().__call__(*arguments, **options)
        finally:
            set_track_meta(tracked)


def _refuse_unfit(file: str | Path, picture: Image.Image) -> None:
    """Judge by the header, before anything is decoded."""
    if picture.mode != "RGB":
        kind = {"L": "grey", "1": "black and white"}.get(picture.mode, f"of mode {picture.mode}")
        raise InputError(f"{file}: is {kind}, a colour picture (RGB) is wanted; replace or convert it.")
    if min(picture.size) < MIN_SIDE:
        raise InputError(
            f"{file}: has {picture.width} x {picture.height} pixels, at least {MIN_SIDE} x {MIN_SIDE} are wanted; "
            "replace or remove it."
        )


def _shrunk(picture: Image.Image, longest_side: int | None) -> Image.Image:
    if longest_side is None or max(picture.size) <= longest_side:
        return picture
    factor = longest_side / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _reason(error: Exception) -> str:
    # Pillow's message on what it cannot identify repeats the path.
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
