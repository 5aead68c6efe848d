"""The body of a request, brought to a private folder and judged before anything else looks at it.

Every file is renamed: what a bundle writes and logs must not hold the name that a patient's file has.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from .contract import Contract
from .errors import Refusal
from .nifti import GZIP_MAGIC, check_file, is_gzip
from .settings import Settings

NIFTI, JPEG, PNG = "nifti", "jpeg", "png"
# Content types, and what the body then has to be; None looks at its first bytes.
CONTENT_TYPES = {
    "application/x-nifti": NIFTI,
    "application/nifti": NIFTI,
    "application/gzip": NIFTI,
    "application/x-gzip": NIFTI,
    "image/jpeg": JPEG,
    "image/png": PNG,
    "application/octet-stream": None,
    "": None,
}
MAGIC = {b"\xff\xd8\xff": JPEG, b"\x89PNG\r\n\x1a\n": PNG}
CASE = "case"


def content_kind(content_type: str) -> str | None:
    """What a body of that Content-Type should be; None where the type does not tell.

    Raises:
        Refusal: 415, nothing of that type is served.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in CONTENT_TYPES:
        raise Refusal(
            415, "The content type is not served; send application/x-nifti (.nii, .nii.gz), image/jpeg or image/png."
        )
    return CONTENT_TYPES[media_type]


def checked_input(body: Path, folder: Path, kind: str | None, contract: Contract, settings: Settings) -> Path:
    """Move a received body to where the bundle reads it.

    Args:
        body: the received file.
        folder: where the bundle looks for its input; made here.
        kind: as the content type said.
        contract: what the bundle takes.
        settings: the limits.

    Returns:
        The file, named for what it holds.

    Raises:
        Refusal: it is not what the content type says, damaged, too large, or not of the bundle's kind.
    """
    with body.open("rb") as content:
        head = content.read(max(map(len, (*MAGIC, GZIP_MAGIC))))
    if not head:
        raise Refusal(400, "The body is empty; send the bytes of an image.")
    found = next((name for magic, name in MAGIC.items() if head.startswith(magic)), NIFTI)
    if kind not in (None, found):
        raise Refusal(400, f"The content type says {kind}, but the body is something else; correct the content type.")
    if found != NIFTI and contract.spatial_dims == 3:
        raise Refusal(415, "This bundle takes volumes; send application/x-nifti (.nii, .nii.gz).")
    if found == NIFTI:
        header = check_file(body, settings)
        suffix = ".nii.gz" if is_gzip(body) else ".nii"
        # A plane of one slice has 3 axes, so axes alone tell no misfit of a 2-D bundle.
        channels = header.channels
        if contract.spatial_dims == 3 and len(header.shape) < 3:
            raise Refusal(400, "The image is a plane; this bundle takes volumes.")
    else:
        channels = _check_picture(body, settings)
        suffix = f".{found}"
    if contract.spatial_dims == 3 or found != NIFTI:
        contract.refuse_channels(channels)
    folder.mkdir(parents=True, exist_ok=True)
    return body.rename(folder / f"{CASE}{suffix}")


def _check_picture(path: Path, settings: Settings) -> int:
    """Number of channels of a picture that can be decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG", "PNG")) as picture:
            # Pillow warns of large pictures; here the limit is the settings' own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            channels = len(picture.getbands())
            if picture.width * picture.height * channels > settings.max_voxels:
                raise Refusal(413, f"The picture has more than {settings.max_voxels} values; send a smaller one.")
            picture.load()
            return channels
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise Refusal(400, "The picture is damaged or truncated; send the whole file.") from error
