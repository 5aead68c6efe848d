"""Where the s3:// URIs of a request lead in a local run: a folder, or S3 through a boto3 client."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Protocol

from sm_launch.errors import LaunchError
from sm_launch.s3_uri import SCHEME, join, split


class Store(Protocol):
    """Objects by URI. A prefix is plain text, as in S3: s3://b/data matches the key database.json too."""

    def list(self, prefix: str) -> list[str]:
        """URIs of all objects that begin with ``prefix``, sorted."""

    def download(self, uri: str, target: Path) -> None:
        """Copy one object into the file ``target``, whose folder is made.

        Raises:
            LaunchError: there is no such object.
        """

    def upload(self, source: Path, uri: str) -> None:
        """Copy a file to ``uri``, or all files of a folder to ``uri``/their path in it."""


def files_of(source: Path, uri: str) -> list[tuple[Path, str]]:
    """The files that an upload of ``source`` means, with their URIs."""
    if source.is_file():
        return [(source, uri)]
    return [
        (path, join(uri, path.relative_to(source).as_posix())) for path in sorted(source.rglob("*")) if path.is_file()
    ]


class FolderStore:
    """s3://BUCKET/KEY is the file ROOT/BUCKET/KEY.

    Args:
        root: the folder; made where it is absent.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()

    def path(self, uri: str) -> Path:
        """The file of a URI.

        Raises:
            LaunchError: the key leads out of the folder.
        """
        bucket, key = split(uri)
        # By the words alone: an object may well be a link to a file elsewhere.
        path = Path(os.path.normpath(self.root / bucket / key))
        if self.root not in path.parents:
            raise LaunchError(f"'{uri}' leads out of {self.root}; take '..' out of the key.")
        return path

    def list(self, prefix: str) -> list[str]:
        """See :class:`Store`."""
        bucket, key = split(prefix)
        self.path(prefix if key else join(prefix, "x"))
        top = self.root / bucket
        # Only the folder that the prefix names can hold its objects.
        start = top / key.rpartition("/")[0]
        keys = (path.relative_to(top).as_posix() for path in start.rglob("*") if path.is_file())
        return sorted(f"{SCHEME}{bucket}/{found}" for found in keys if found.startswith(key))

    def download(self, uri: str, target: Path) -> None:
        """See :class:`Store`."""
        source = self.path(uri)
        if not source.is_file():
            raise LaunchError(f"{uri}: there is no such object in {self.root}; put the file {source} there.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def upload(self, source: Path, uri: str) -> None:
        """See :class:`Store`."""
        for path, each in files_of(source, uri):
            target = self.path(each)
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.with_name(f".{target.name}.part")
            shutil.copyfile(path, aside)
            aside.replace(target)


class S3Store:
    """Real S3, or a server that speaks its language.

    Args:
        client: ``boto3.client("s3")``.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def list(self, prefix: str) -> list[str]:
        """See :class:`Store`."""
        bucket, key = split(prefix)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        # The console makes empty objects that stand for folders.
        return sorted(f"{SCHEME}{bucket}/{name}" for name in found if not name.endswith("/"))

    def download(self, uri: str, target: Path) -> None:
        """See :class:`Store`."""
        from botocore.exceptions import ClientError

        bucket, key = split(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.client.download_file(bucket, key, str(target))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise LaunchError(f"{uri}: cannot be read ({code}); check the URI and the rights to it.") from error

    def upload(self, source: Path, uri: str) -> None:
        """See :class:`Store`."""
        for path, each in files_of(source, uri):
            bucket, key = split(each)
            self.client.upload_file(str(path), bucket, key)
