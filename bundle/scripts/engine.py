"""What the MONAI engines need beyond MONAI: regions made on the device, and precision by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from scripts.errors import InputError
from scripts.labels import REGIONS, get_scheme, labels_to_regions

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class RegionBatch:
    """The engines' ``prepare_batch``: moves a batch to the device and turns its label ids into region channels there.

    Labels travel as one uint8 map until this point: a twelfth of the bytes of three float channels through cache,
    workers and the bus, and no interpolation can break the nesting of the regions.

    Args:
        label_scheme: a scheme of :mod:`scripts.labels`.
        regions: channel order of the target.
        label_key: batch entry that holds the ids, (B, 1, H, W, D). A batch without it (inference) has no target.
    """

    def __init__(self, label_scheme: str, regions: Sequence[str] = REGIONS, label_key: str = "label") -> None:
        self.scheme = get_scheme(label_scheme)
        self.regions = tuple(regions)
        self.label_key = label_key

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **to_options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return image (B, M, H, W, D) and regions (B, R, H, W, D) or None, both on ``device``.

        ``to_options`` are the engine's ``to_kwargs``, handed to ``torch.Tensor.to``.
        """
        image = batchdata["image"].to(device=device, non_blocking=non_blocking, **to_options)
        if self.label_key not in batchdata:
            return image, None
        label = batchdata[self.label_key].to(device=device, non_blocking=non_blocking, **to_options)
        cases = batchdata.get("case", "batch")
        name = cases if isinstance(cases, str) else ", ".join(map(str, cases))
        return image, labels_to_regions(label, self.scheme, self.regions, case=name)


def amp_options(precision: str) -> dict[str, Any]:
    """Autocast options of the ``precision`` knob.

    Raises:
        InputError: the precision has no such name.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is unknown; choose one of {', '.join(PRECISIONS)}.")
    return {"dtype": PRECISIONS[precision]}
