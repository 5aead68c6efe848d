"""Label volumes on the input's own grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scripts.predictions import save_volume
from tiny import AFFINE


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 0), (0, 1)])
def test_affine_and_its_codes_are_the_inputs(tmp_path: Path, sform: int, qform: int) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6, 4), np.int16), AFFINE)
    image.set_sform(AFFINE, sform)
    image.set_qform(AFFINE, qform)
    nib.save(image, tmp_path / "image.nii.gz")
    save_volume(np.ones((4, 5, 6), np.uint8), str(tmp_path / "image.nii.gz"), tmp_path / "out" / "seg.nii.gz")
    source, written = nib.load(tmp_path / "image.nii.gz"), nib.load(tmp_path / "out" / "seg.nii.gz")
    assert np.array_equal(written.affine, source.affine)
    assert int(written.header["sform_code"]) == sform
    assert int(written.header["qform_code"]) == qform
    assert written.get_data_dtype() == np.uint8
    assert written.shape == (4, 5, 6)
