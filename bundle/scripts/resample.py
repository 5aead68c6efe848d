"""MONAI's ``Spacingd`` by separable resampling: the same grids, the same trace, a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.data import MetaTensor, get_track_meta
from monai.data.utils import to_affine_nd
from monai.transforms import Spacingd, SpatialResample, TraceableTransform
from monai.utils import TraceKeys

from scripts.brain_box import nonzero_extent
from scripts.separable import Samples, resample_linear, resample_nearest

# Largest shift, in voxels, by which a sample may miss its axis for the two grids to count as parallel.
PARALLEL_TOLERANCE = 1e-3
MODES = {"bilinear": resample_linear, "nearest": resample_nearest}


class SeparableResample(SpatialResample):
    """MONAI's ``SpatialResample``, one axis at a time where the two grids are parallel, MONAI's own way where not.

    Interpolation is in float32; labels (mode ``nearest``) keep their type, where MONAI makes them float32.
    """

    def __call__(
        self,
        img: torch.Tensor,
        dst_affine: torch.Tensor | None = None,
        spatial_size: Sequence[int] | torch.Tensor | int | None = None,
        mode: str | int | None = None,
        padding_mode: str | None = None,
        align_corners: bool | None = None,
        dtype: np.dtype | type | torch.dtype | str | None = None,
        lazy: bool | None = None,
    ) -> torch.Tensor:
        """Resample ``img`` (C, H, W, D) to the grid of ``dst_affine``; see ``SpatialResample`` for the arguments."""
        mode, padding_mode = mode or self.mode, padding_mode or self.padding_mode
        samples = None
        if mode in MODES and padding_mode == "border" and isinstance(img, MetaTensor) and not (lazy or self.lazy):
            samples = parallel_samples(img, dst_affine, spatial_size)
        if samples is None:
            return super().__call__(img, dst_affine, spatial_size, mode, padding_mode, align_corners, dtype, lazy)
        meta = TraceableTransform.track_transform_meta(
            img,
            sp_size=[len(one.positions) for one in samples],
            affine=None if all(one.identity for one in samples) else index_map(img, dst_affine),
            extra_info={
                "dtype": "float32",
                "mode": mode,
                "padding_mode": padding_mode,
                "align_corners": TraceKeys.NONE if align_corners is None else align_corners,
                "src_affine": img.affine.to(torch.float64),
            },
            orig_size=img.peek_pending_shape(),
            transform_info=self.get_transform_info(),
        )
        resampled = MODES[mode](img.as_tensor(), samples)
        return MetaTensor(resampled).copy_meta_from(meta) if get_track_meta() else resampled

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Resample back to the grid that the last call came from."""
        traced = self.pop_transform(data)
        how = traced[TraceKeys.EXTRA_INFO]
        with self.trace_transform(False):
            return self(
                data,
                dst_affine=how["src_affine"],
                spatial_size=traced[TraceKeys.ORIG_SIZE],
                mode=how["mode"],
                padding_mode=how["padding_mode"],
                align_corners=False if how["align_corners"] == TraceKeys.NONE else how["align_corners"],
            )


def parallel_samples(
    img: MetaTensor, dst_affine: torch.Tensor | None, spatial_size: Sequence[int] | torch.Tensor | int | None
) -> list[Samples] | None:
    """Where each axis of ``img`` (C, H, W, D) is sampled, if the axes of both grids are parallel in the same order."""
    if dst_affine is None or spatial_size is None or isinstance(spatial_size, int) or img.ndim != 4:
        return None
    step = index_map(img, dst_affine).numpy()
    counts = [int(count) for count in spatial_size]
    across = step[:3, :3] - np.diag(np.diag(step[:3, :3]))
    if (np.abs(across) @ np.array(counts)).max() > PARALLEL_TOLERANCE:
        return None
    return [
        Samples.along(size, count, step[axis, axis], step[axis, 3])
        for axis, (size, count) in enumerate(zip(img.shape[1:], counts, strict=True))
    ]


def index_map(img: MetaTensor, dst_affine: torch.Tensor) -> torch.Tensor:
    """Voxel index of the grid of ``dst_affine`` to voxel index of ``img``, 4 x 4, float64."""
    wanted = to_affine_nd(3, torch.as_tensor(dst_affine)).to(torch.float64)
    return torch.linalg.solve(img.affine.to(torch.float64), wanted)


class SeparableSpacingd(Spacingd):
    """MONAI's ``Spacingd`` over :class:`SeparableResample`; border padding, float32.

    Args:
        keys: entries (C, H, W, D).
        pixdim: voxel size in mm along H, W, D; 0 keeps the data's own.
        mode: ``bilinear`` for images, ``nearest`` for labels, one a key or one for all.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        pixdim: Sequence[float],
        mode: str | Sequence[str] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, pixdim, mode=mode, dtype=np.float32, allow_missing_keys=allow_missing_keys)
        self.spacing_transform.sp_resample = SeparableResample(dtype=np.float32)

    def inverse_decided(
        self, volume: MetaTensor, decide: Callable[[torch.Tensor], torch.Tensor], thresholds: torch.Tensor
    ) -> MetaTensor:
        """Invert ``volume`` and decide on it, looking only where a decision can be other than 0.

        An interpolated value never exceeds the largest of those around it, so all lies in the box of the values above
        their channel's threshold and one voxel more: for a tumour a twentieth of the brain.

        Args:
            volume: traced probabilities, (R, h, w, d).
            decide: probabilities to values; 0 at voxels where none is above its channel's threshold. It is shown a box
                of all others.
            thresholds: of ``decide``, (R, 1, 1, 1).

        Returns:
            What ``decide`` makes of the whole inverse, (R', H, W, D).
        """
        resampler = self.spacing_transform.sp_resample
        traced = volume.applied_operations[-1]
        how, shape = traced[TraceKeys.EXTRA_INFO], traced[TraceKeys.ORIG_SIZE]
        samples = parallel_samples(volume, how["src_affine"], shape)
        if samples is None or how["mode"] != "bilinear":
            back = resampler.inverse(volume)
            return MetaTensor(decide(back.as_tensor()), meta=back.meta, applied_operations=back.applied_operations)
        resampler.pop_transform(volume)
        values = volume.as_tensor()
        start, end = nonzero_extent(values > thresholds.to(values.device)) or (np.zeros(3, int), np.ones(3, int))
        taken, inside, parts = [slice(None)], [slice(None)], []
        for one, first, last in zip(samples, np.maximum(start - 1, 0), end, strict=True):
            last = min(int(last), one.size - 1)
            within = np.flatnonzero((one.positions >= first) & (one.positions <= last))
            taken.append(slice(int(first), last + 1))
            inside.append(slice(int(within[0]), int(within[-1]) + 1))
            parts.append(Samples(last + 1 - int(first), one.positions[inside[-1]] - first))
        decided = decide(resample_linear(values[tuple(taken)], parts))
        whole = decided.new_zeros((len(decided), *(int(size) for size in shape)))
        whole[tuple(inside)] = decided
        result = MetaTensor(whole, meta=volume.meta, applied_operations=volume.applied_operations)
        if not all(one.identity for one in samples):
            result.affine = volume.affine @ index_map(volume, how["src_affine"])
        return result
