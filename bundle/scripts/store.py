"""Preprocessed cases on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing

from scripts.errors import InputError


class DiskCacheDataset(PersistentDataset):
    """MONAI's ``PersistentDataset`` that notices a changed preprocessing and says what to do when the disk is full.

    A file's name holds a hash of the case's paths and of every deterministic transform with its parameters; MONAI's own
    default hashes neither, so it serves volumes of the old spacing after a new one was asked for.

    Args:
        data: items with paths.
        transform: the whole chain; what precedes its first random transform is cached.
        cache_dir: folder of the cached cases.
    """

    def __init__(self, data: Sequence[Any], transform: Sequence[Callable] | Callable, cache_dir: str) -> None:
        try:
            super().__init__(data, transform, cache_dir, hash_transform=pickle_hashing)
        except OSError as error:
            raise self._cannot_cache(cache_dir, error) from error

    def _cachecheck(self, item_transformed: Any) -> Any:
        try:
            return super()._cachecheck(item_transformed)
        except OSError as error:
            raise self._cannot_cache(self.cache_dir, error) from error
        except RuntimeError as error:
            # torch.save reports a full disk as a RuntimeError of its C++ writer.
            if "PytorchStreamWriter" in str(error) or "inline_container" in str(error):
                raise self._cannot_cache(self.cache_dir, error) from error
            raise

    @staticmethod
    def _cannot_cache(cache_dir: Any, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or "the disk is full"
        return InputError(
            f"{cache_dir}: preprocessed cases cannot be written ({reason}); free some space, set cache_dir to a larger "
            "disk, or train without it by configs/data/dataset.json."
        )
