"""Preprocessed cases on disk."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.utils import convert_to_tensor

from scripts.errors import InputError, first_line
from scripts.files import write_aside

logger = logging.getLogger(__name__)


def hash_with_files(item: Mapping[str, Any]) -> bytes:
    """Hash of a data item together with size and time of change of the files it names."""
    paths = [path for value in item.values() for path in ([value] if isinstance(value, str) else value)]
    stamps = [(os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths if os.path.isfile(path)]
    return pickle_hashing((dict(item), stamps))


class DiskCacheDataset(PersistentDataset):
    """MONAI's ``PersistentDataset`` with files that are whole, of this preprocessing, and of known voxel size.

    A file's name holds a hash of the case's files (path, size, time) and of every deterministic transform with its
    parameters. MONAI's own default hashes the paths alone, so it serves volumes of the old spacing, or of a label that
    was corrected since. MONAI's also moves a file into place from another disk, which leaves half of it there when that
    disk is full, and drops affines, without which a rotation would shear what is not isotropic.

    Args:
        data: items with paths.
        transform: the whole chain; what precedes its first random transform is cached.
        cache_dir: folder of the cached cases.
    """

    def __init__(self, data: Sequence[Any], transform: Sequence[Callable] | Callable, cache_dir: str) -> None:
        try:
            super().__init__(data, transform, cache_dir, hash_func=hash_with_files, hash_transform=pickle_hashing)
        except OSError as error:
            raise self._cannot_cache(cache_dir, error) from error

    def _cachecheck(self, item_transformed: Any) -> Any:
        """The case up to its first random transform, the same whether it is made or read."""
        name = self.hash_func(item_transformed).decode("utf-8") + self.transform_hash
        file = Path(self.cache_dir) / f"{name}.pt"
        if file.is_file():
            try:
                return _with_affines(torch.load(file, weights_only=True))
            # A format of an earlier version, or a damaged disk.
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
                logger.warning("%s: cannot be read (%s); its case is prepared anew", file, first_line(error))
        prepared = self._pre_transform(deepcopy(item_transformed))
        content = _plain(prepared)
        try:
            with write_aside(file) as aside:
                torch.save(content, aside)
        except InputError as error:
            raise self._cannot_cache(self.cache_dir, error.__cause__ or error) from error
        return _with_affines(content)

    @staticmethod
    def _cannot_cache(cache_dir: Any, error: BaseException) -> InputError:
        reason = getattr(error, "strerror", None) or "the disk is full"
        return InputError(
            f"{cache_dir}: preprocessed cases cannot be written ({reason}); free some space, set cache_dir to a larger "
            "disk, or train without it by configs/data/dataset.json."
        )


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """What ``torch.load`` takes with ``weights_only``: tensors, and the affine (mm) of each volume beside them."""
    affines = {key: value.affine for key, value in item.items() if isinstance(value, MetaTensor)}
    return {"item": convert_to_tensor(dict(item), convert_numeric=False, track_meta=False), "affines": affines}


def _with_affines(content: Mapping[str, Any]) -> dict[str, Any]:
    """The item, its volumes as MetaTensors."""
    volumes = {key: MetaTensor(content["item"][key], affine=affine) for key, affine in content["affines"].items()}
    return content["item"] | volumes
