"""The store as a MONAI data set: whole volumes for validation, and the cases that patches are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch.utils.data import Dataset

from scripts import distributed
from scripts.errors import InputError
from scripts.naming import listed, original
from scripts.patches import patch_recipe
from scripts.store_build import build
from scripts.store_case import StoredCase, read_case


class StoreDataset(Dataset):
    """Preprocessed cases of a store; those that are missing are prepared on first use.

    An item is what the deterministic transforms would have made of the case, within the rounding of the store's int16:
    ``image`` (C, H, W, D) float32 and ``label`` (1, H, W, D) uint8, both with their affine, and ``case``.

    Args:
        data: items with ``case`` and the paths ``image`` and ``label``.
        transform: the deterministic transforms.
        store_dir: the store's folder.
        random_transforms: the random ones, where patches are to be drawn: those that the store cannot make are refused
            before any case is prepared.
        device: where patches are made: on ``cpu`` from the mapped files, or on a GPU, which then holds all voxels.

    Raises:
        InputError: the store is stale, or a case cannot be prepared.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Sequence[Callable],
        store_dir: str,
        random_transforms: Sequence[Any] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if random_transforms is not None:
            patch_recipe(random_transforms)
        unlabelled = [item["case"] for item in data if "label" not in item]
        if unlabelled:
            raise InputError(
                f"{listed(unlabelled)}: have no label under the name 'label', and a store holds labelled cases; name "
                "configs/evaluate.json after configs/data/store.json, or leave the store out."
            )
        # Copies that rehearse a larger data set stand over the same files, which are stored once.
        cases = [{**item, "case": original(item["case"])} for item in data]
        self.names = [item["case"] for item in cases]
        self.folder = Path(store_dir)
        self.device = torch.device(device)
        self._open: dict[str, StoredCase] = {}
        with distributed.rank_zero_first():
            problems = build(list({item["case"]: item for item in cases}.values()), transform, store_dir)
        if problems:
            lines = "\n".join(f"  {name}: {problem}" for name, problem in sorted(problems.items()))
            raise InputError(f"{store_dir}: {len(problems)} of {len(set(self.names))} cases cannot be stored:\n{lines}")

    def __len__(self) -> int:
        return len(self.names)

    def stored(self, index: int) -> StoredCase:
        """A case as the store holds it, opened once."""
        name = self.names[index]
        if name not in self._open:
            self._open[name] = read_case(self.folder / name)
        return self._open[name]

    def cases(self) -> list[StoredCase]:
        """All cases, in the order of the indices."""
        return [self.stored(index) for index in range(len(self))]

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.stored(index)
        units = torch.as_tensor(case.units)
        affine = torch.as_tensor(np.asarray(case.affine), dtype=torch.float64)
        return {
            "image": MetaTensor((case.image * units).permute(3, 0, 1, 2).contiguous(), affine=affine),
            "label": MetaTensor(case.label[None].clone(), affine=affine),
            "case": case.name,
        }
