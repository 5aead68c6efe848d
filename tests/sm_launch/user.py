"""Somebody at a terminal, on an AWS account of this machine whose jobs really run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from emulator import Account
from forked import LEAN

ROOT = Path(__file__).resolve().parents[2]
# What a serving container runs; its image is only a name.
SERVER = ["env", f"PYTHONPATH={ROOT}:{LEAN['PYTHONPATH']}", sys.executable, "-m", "sm_launch.container.serve"]
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/serve:1"
REGION = "us-east-1"
# No question, and short pauses.
SEND = ("--yes", "--poll", "0.5")


@dataclass
class User:
    """Somebody at a terminal.

    Attributes:
        account: theirs.
        folder: theirs, with ``spec.yaml`` and ``home/``.
        bucket: that the spec names.
    """

    account: Account
    folder: Path
    bucket: str

    def types(self, *words: str, fails: bool = False) -> str:
        """Run ``sm_launch WORDS``; returns what it printed."""
        env = {**os.environ, **self.account.env, "SM_LAUNCH_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "sm_launch", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=500
        )
        assert (done.returncode != 0) is fails, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Objects of the bucket below a prefix, by the rest of their key."""
        s3 = self.account.session().client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
        return {k.removeprefix(prefix): s3.get_object(Bucket=self.bucket, Key=k)["Body"].read() for k in keys}
