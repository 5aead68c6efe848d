"""An AWS account with a bucket of small programs, for every test that needs one."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator import Account, aws
from programs import BUCKET, PROCESS, SERVE, TRAIN


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    """An account with a role, and a bucket that holds code, texts and a model."""
    serve = tmp_path / "serve.py"
    serve.write_text(SERVE, encoding="utf-8")
    with aws(serve_command=[sys.executable, str(serve)], folder=tmp_path / "aws") as account:
        s3 = account.session().client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="code/train.py", Body=TRAIN.encode())
        s3.put_object(Bucket=BUCKET, Key="code/process.py", Body=PROCESS.encode())
        for name in ("a", "b", "c"):
            s3.put_object(Bucket=BUCKET, Key=f"texts/{name}.txt", Body=f"text {name}".encode())
        s3.put_object(Bucket=BUCKET, Key="model/model.tar.gz", Body=_archive("weights.txt", b"weights"))
        yield account


def _archive(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()
