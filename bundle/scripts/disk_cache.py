"""Preprocessed cases on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing

from scripts.errors import InputError
from scripts.files import is_write_error


def hash_with_files(item: Mapping[str, Any]) -> bytes:
    """Hash of a data item together with size and time of change of the files it names."""
    paths = [path for value in item.values() for path in ([value] if isinstance(value, str) else value)]
    stamps = [(os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths if os.path.isfile(path)]
    return pickle_hashing((dict(item), stamps))


class DiskCacheDataset(PersistentDataset):
    """MONAI's ``PersistentDataset`` that notices a changed preprocessing and says what to do when the disk is full.

    A file's name holds a hash of the case's files (path, size, time) and of every deterministic transform with its
    parameters. MONAI's own default hashes the paths alone, so it serves volumes of the old spacing, or of a label that
    was corrected since.

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
        try:
            return super()._cachecheck(item_transformed)
        except (OSError, RuntimeError) as error:
            if not is_write_error(error):
                raise
            raise self._cannot_cache(self.cache_dir, error) from error

    @staticmethod
    def _cannot_cache(cache_dir: Any, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or "the disk is full"
        return InputError(
            f"{cache_dir}: preprocessed cases cannot be written ({reason}); free some space, set cache_dir to a larger "
            "disk, or train without it by configs/data/dataset.json."
        )
