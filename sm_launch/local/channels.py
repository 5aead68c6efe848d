"""Input data of a request: which objects a node gets, and under which paths."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sm_launch.errors import LaunchError
from sm_launch.local.store import Store
from sm_launch.s3_uri import join, split

PREFIX, MANIFEST = "S3Prefix", "ManifestFile"
SHARDED = "ShardedByS3Key"


def objects(kind: str, uri: str, store: Store, what: str) -> list[tuple[str, str]]:
    """URI and path in the channel of each object that a data source means, in the order of their keys.

    Args:
        kind: S3DataType.
        uri: S3Uri.
        store: where it leads.
        what: names the channel or input in messages.

    Raises:
        LaunchError: the type is none that runs here, the manifest is broken, or there is no object.
    """
    if kind == PREFIX:
        found = _of_prefix(uri, store)
    elif kind == MANIFEST:
        found = _of_manifest(uri, store, what)
    else:
        raise LaunchError(
            f"{what}: S3DataType is '{kind}', but a local run takes {PREFIX} and {MANIFEST}; change the type."
        )
    if not found:
        raise LaunchError(f"{what}: there is no object at {uri}; check the URI, or copy the data there first.")
    return found


def _of_prefix(uri: str, store: Store) -> list[tuple[str, str]]:
    _, key = split(uri)
    found = []
    for each in store.list(uri):
        _, name = split(each)
        folder = key if not key or key.endswith("/") else key + "/"
        # A prefix may end within a name: data/BRATS_0 means data/BRATS_001.nii.gz.
        cut = len(folder) if name.startswith(folder) else len(key.rpartition("/")[0]) + ("/" in key)
        found.append((each, name[cut:]))
    return found


def _of_manifest(uri: str, store: Store, what: str) -> list[tuple[str, str]]:
    """A list of {"prefix": S3 URI} and paths beneath it (API reference, S3DataSource)."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest"
        store.download(uri, file)
        try:
            first, *paths = json.loads(file.read_text(encoding="utf-8"))
            prefix = first["prefix"]
        except (ValueError, TypeError, KeyError) as error:
            raise LaunchError(
                f'{what}: {uri} is no manifest ({error}); write [{{"prefix": "s3://BUCKET/KEY/"}}, "path", ...].'
            ) from error
    return sorted((join(prefix, path), path) for path in paths)


def shard(found: list[tuple[str, str]], distribution: str, index: int, count: int) -> list[tuple[str, str]]:
    """What the host ``index`` of ``count`` gets: all, or every count-th object. (AWS does not say which ones.)"""
    return found[index::count] if distribution == SHARDED else found


def download(found: list[tuple[str, str]], store: Store, folder: Path) -> None:
    """Copy objects into a folder.

    Raises:
        LaunchError: a path leads out of the folder, or an object is absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for uri, path in found:
        if ".." in PurePosixPath(path).parts:
            raise LaunchError(f"{uri}: its path leads out of the channel; take '..' out of the manifest.")
        store.download(uri, folder / path)


def fill_channel(channel: Mapping[str, Any], store: Store, folder: Path, index: int, count: int) -> None:
    """One entry of InputDataConfig, for the host ``index`` of ``count``. FastFile becomes files as well.

    Raises:
        LaunchError: it is not in S3, compressed, or empty.
    """
    what = f"channel '{channel['ChannelName']}'"
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise LaunchError(f"{what}: lies on a file system of AWS; give the local run an S3 channel instead.")
    if channel.get("CompressionType", "None") != "None":
        raise LaunchError(f"{what}: is compressed, which a local run does not unpack; set CompressionType to None.")
    found = objects(source["S3DataType"], source["S3Uri"], store, what)
    download(shard(found, source.get("S3DataDistributionType", ""), index, count), store, folder)
