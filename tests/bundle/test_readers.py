"""Reading NIfTI files: what nibabel reads, in the stored type, or one sentence."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged
from scripts import inflate
from scripts.errors import InputError
from scripts.inflate import gunzip, gzip_runs
from scripts.readers import NiftiReader, read_nifti
from tiny import AFFINE, make_case, save


def load(path: str | list[str]) -> torch.Tensor:
    chain = LoadImaged("image", reader=NiftiReader(), dtype=None, ensure_channel_first=True)
    return chain({"image": path})["image"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.uint16, np.float64])
def test_voxels_and_affine_are_those_of_the_file(tmp_path: Path, suffix: str, dtype: type) -> None:
    voxels = make_case(0)[0].astype(dtype)
    file = save(voxels, tmp_path / f"image{suffix}")
    image = load(str(file))
    assert np.array_equal(image.numpy(), np.moveaxis(voxels, -1, 0))
    assert image.dtype == {np.uint8: torch.uint8, np.int16: torch.int16}.get(dtype, torch.float32)
    assert np.array_equal(image.affine.numpy(), nib.load(file).affine)
    assert list(image.meta["spatial_shape"]) == list(voxels.shape[:3])


def test_the_file_is_not_copied(tmp_path: Path) -> None:
    """The channels lie one after the other, the first axis fastest, as in the file."""
    image = load(str(save(make_case(0)[0], tmp_path / "image.nii.gz")))
    height, width, depth = image.shape[1:]
    assert image.stride() == (height * width * depth, 1, height, height * width)


def test_a_label_and_a_file_a_modality(tmp_path: Path) -> None:
    voxels, label = make_case(1)
    files = [str(save(voxels[..., index], tmp_path / f"{index}.nii.gz")) for index in range(4)]
    assert np.array_equal(load(files).numpy(), np.moveaxis(voxels, -1, 0))
    assert np.array_equal(load(str(save(label, tmp_path / "label.nii.gz"))).numpy(), label[None])


def test_files_of_one_volume_may_have_a_fourth_axis(tmp_path: Path) -> None:
    """Some tools write one of 1; a second volume would be lost."""
    image = make_case(0)[0]
    files = [str(save(image[..., c : c + 1], tmp_path / f"{c}.nii.gz")) for c in range(4)]
    assert np.array_equal(load(files).numpy(), np.moveaxis(image, -1, 0))
    files = [str(save(image[..., c : c + 2], tmp_path / f"two{c}.nii.gz")) for c in range(2)]
    with pytest.raises((InputError, RuntimeError), match="each of several files of a case is to hold one volume"):
        load(files)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_scaled_voxels_of_either_byte_order(tmp_path: Path, kind: type, order: str) -> None:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = kind(make_case(2)[0] * 0.25 + 7, AFFINE, header)
    nib.save(image, tmp_path / "scaled.nii.gz")
    read = load(str(tmp_path / "scaled.nii.gz"))
    assert read.dtype == torch.float32
    wanted = np.moveaxis(nib.load(tmp_path / "scaled.nii.gz").get_fdata(), -1, 0)
    np.testing.assert_allclose(read.numpy(), wanted, rtol=1e-6)


def test_modalities_of_unlike_grids_are_refused(tmp_path: Path) -> None:
    voxels = make_case(0)[0]
    files = [save(voxels[..., 0], tmp_path / "a.nii.gz"), save(voxels[..., 1], tmp_path / "b.nii.gz", AFFINE + 1)]
    with pytest.raises(InputError, match="b.nii.gz: has another shape or affine than .*a.nii.gz"):
        NiftiReader().get_data(NiftiReader().read(files))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, suffix: str, keep: float) -> None:
    file = save(make_case(0)[0], tmp_path / f"image{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(InputError, match=rf"{file.name}: cannot be read \(.+\); restore the file"):
        load(str(file))


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    file = save(make_case(0)[0], tmp_path / "image.nii.gz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(InputError, match="image.nii.gz: cannot be read"):
        NiftiReader().get_data((str(file),))


@pytest.fixture(params=["library", "package", "standard"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to inflate; another platform may have only the later ones."""
    if request.param == "package":
        pytest.importorskip("deflate")
        monkeypatch.setattr(inflate, "_inflater", lambda: inflate._inflate_by_package)
    elif request.param == "standard":
        monkeypatch.setattr(inflate, "_inflater", lambda: None)
    return request.param


def test_every_kind_of_gzip_inflates(way: str) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 50, 4000, dtype=np.uint8).tobytes() for _ in range(2))
    for parts in ([first], [first, second], [first, second[:100]], [first[:100], second], [first, b""]):
        packed = b"".join(gzip.compress(part) for part in parts)
        assert gunzip(packed).tobytes() == b"".join(parts)
    # A trailer that lies about the size.
    packed = gzip.compress(first)
    with pytest.raises((OSError, EOFError)):
        gunzip(packed[:-4] + (4001).to_bytes(4, "little"))
    with pytest.raises((OSError, EOFError)):
        gunzip(packed[:-4] + (2**32 - 1).to_bytes(4, "little"))
    assert gunzip(packed).flags.writeable


def test_runs_are_packed_as_one_member() -> None:
    content = bytes(5000) + bytes(range(256)) + bytes(5000)
    packed = gzip_runs(content)
    assert gzip.decompress(packed) == content
    assert int.from_bytes(packed[-4:], "little") == len(content)


def test_a_header_extension_is_skipped(tmp_path: Path) -> None:
    voxels, _ = make_case(0)
    image = nib.Nifti1Image(voxels, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a word " * 9))
    nib.save(image, tmp_path / "image.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "image.nii.gz")[1], voxels)
