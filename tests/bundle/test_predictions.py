"""Label volumes on the input's own grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scripts.predictions import flatten, save_volume, summarise, table
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


def row(case: str, dice: float) -> dict[str, object]:
    return {"case": case} | {
        measure: {"TC": dice, "WT": 1.0, "ET": 0.0} for measure in ("dice", "hd95_mm", "truth_ml", "prediction_ml")
    }


def test_summary_is_the_mean_of_cases_then_regions() -> None:
    summary = summarise([row("a", 0.5), row("b", 1.0)], ("TC", "WT", "ET"))
    assert summary["n_cases"] == 2
    assert summary["dice"] == {"TC": 0.75, "WT": 1.0, "ET": 0.0, "mean": pytest.approx(1.75 / 3)}
    assert "TC        0.7500" in table(summary)


def test_csv_row_has_a_column_for_each_measure_and_region() -> None:
    flat = flatten(row("a", 0.5))
    assert list(flat)[:4] == ["case", "dice_TC", "dice_WT", "dice_ET"]
    assert flat["hd95_mm_TC"] == 0.5
