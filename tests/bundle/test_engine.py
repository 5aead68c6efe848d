"""Regions made on the device from one label map."""

from __future__ import annotations

import pytest
import torch
from scripts.engine import RegionBatch, amp_options
from scripts.errors import InputError


def test_label_ids_become_nested_float_regions() -> None:
    label = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).reshape(1, 1, 4, 1, 1)
    image, target = RegionBatch("msd")({"image": torch.rand(1, 4, 4, 1, 1), "label": label}, "cpu")
    assert image.shape == (1, 4, 4, 1, 1)
    assert target is not None and target.dtype == torch.float32
    assert target[0, :, :, 0, 0].tolist() == [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]


def test_foreign_label_value_names_case_and_scheme() -> None:
    batch = {"image": torch.rand(1, 4, 1, 1, 1), "label": torch.full((1, 1, 1, 1, 1), 4), "case": ["BRATS_007"]}
    with pytest.raises(InputError, match="BRATS_007: label value 4 is not in scheme 'msd'"):
        RegionBatch("msd")(batch, "cpu")


def test_unlabelled_batch_has_no_target() -> None:
    assert RegionBatch("msd")({"image": torch.rand(1, 4, 1, 1, 1)}, "cpu")[1] is None


def test_unknown_precision_is_refused() -> None:
    assert amp_options("bf16") == {"dtype": torch.bfloat16}
    with pytest.raises(InputError, match="precision 'fp64' is unknown"):
        amp_options("fp64")
