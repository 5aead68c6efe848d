"""The body of a request, brought to a private folder and judged before anything else looks at it.

Every file is renamed: what a bundle writes and logs must not hold the name that a patient's file has.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

from .archive import HEAD_BYTES, is_tar, unpack
from .contract import Contract
from .errors import Refusal
from .nifti import Header, check_file, is_gzip
from .settings import Settings

NIFTI, JPEG, PNG, TAR = "nifti", "jpeg", "png", "tar"
# Content types, and what the body then has to be; None looks at its first bytes.
CONTENT_TYPES = {
    "application/x-nifti": NIFTI,
    "application/nifti": NIFTI,
    "application/gzip": NIFTI,
    "application/x-gzip": NIFTI,
    "image/jpeg": JPEG,
    "image/png": PNG,
    "application/x-tar": TAR,
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
            415, "The content type is not served; send application/x-nifti, application/x-tar, image/jpeg or image/png."
        )
    return CONTENT_TYPES[media_type]


def checked_input(body: Path, folder: Path, kind: str | None, contract: Contract, settings: Settings) -> list[Path]:
    """Move a received body to where the bundle reads it.

    Args:
        body: the received file.
        folder: where the bundle looks for its input; made here.
        kind: as the content type said.
        contract: what the bundle takes.
        settings: the limits.

    Returns:
        The file, named for what it holds, or the files of a tar.

    Raises:
        Refusal: it is not what the content type says, damaged, too large, or not of the bundle's kind.
    """
    with body.open("rb") as content:
        head = content.read(HEAD_BYTES)
    if not head:
        raise Refusal(400, "The body is empty; send the bytes of an image.")
    found = next((name for magic, name in MAGIC.items() if head.startswith(magic)), TAR if is_tar(head) else NIFTI)
    if kind not in (None, found):
        raise Refusal(400, f"The content type says {kind}, but the body is something else; correct the content type.")
    if found in (JPEG, PNG):
        if contract.spatial_dims == 3:
            raise Refusal(415, "This bundle takes volumes; send application/x-nifti (.nii, .nii.gz).")
        contract.refuse_channels(_check_picture(body, settings))
        suffix = f".{found}"
    elif found == TAR:
        return _check_files(unpack(body, folder, CASE), contract, settings)
    else:
        _check_volume(check_file(body, settings), contract)
        suffix = ".nii.gz" if is_gzip(body) else ".nii"
    folder.mkdir(parents=True, exist_ok=True)
    return [body.rename(folder / f"{CASE}{suffix}")]


def _check_volume(header: Header, contract: Contract) -> None:
    # For a 2-D bundle axes alone tell no misfit: a plane of one slice has 3.
    if contract.spatial_dims == 3:
        if len(header.shape) < 3:
            raise Refusal(400, "The image is a plane; this bundle takes volumes.")
        contract.refuse_channels(header.channels)


def _check_files(files: list[Path], contract: Contract, settings: Settings) -> list[Path]:
    """The files of one case, each a channel on the same grid."""
    contract.refuse_channels(len(files))
    headers = [check_file(file, settings) for file in files]
    shapes = {header.shape for header in headers}
    if len(shapes) > 1 or headers[0].channels > 1:
        raise Refusal(400, "The files of the case are not single channels of one shape; resample them to one grid.")
    voxels = math.prod(headers[0].shape) * len(files)
    if voxels > settings.max_voxels:
        raise Refusal(413, f"The case has {voxels} voxels; at most {settings.max_voxels} are allowed.")
    return files


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
