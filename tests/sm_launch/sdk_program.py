"""Drives the genuine SageMaker SDK in a process of its own, which has the SDK in front of its path.

    python sdk_program.py JOBS FOUND

JOBS is a JSON list of jobs: changes of the spec, the run, a kind, and a prefix in the bucket for the uploads of a
session of the caller's own, or "". Kinds are ``train``, ``preprocess``, and ``plain``, a ScriptProcessor without us.
FOUND gets the names of the jobs, every attempt to leave this machine, and the temporary folders that are left.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from emulator import guard
from programs import IMAGE, INSTANCE
from specs import spec_of

from sm_launch.sdk import to_model_trainer, to_script_processor
from sm_launch.spec import Spec


def started(job: dict[str, Any]) -> str:
    """Start a job; returns the name that the SDK gave it."""
    from sagemaker.core.helper.session_helper import Session

    spec = spec_of(**job["changes"])
    session = Session(default_bucket=spec.bucket.name, default_bucket_prefix=job["prefix"]) if job["prefix"] else None
    if job["kind"] == "train":
        trainer = to_model_trainer(spec, job["run"], session)
        trainer.train(wait=False, logs=False)
        return trainer._latest_training_job.training_job_name
    if job["kind"] == "preprocess":
        made = to_script_processor(spec, job["run"], session)
        processor, arguments = made.processor, made.arguments
    else:
        processor, arguments = plain(spec), {"code": __file__}
    processor.run(**arguments, wait=False, logs=False)
    return processor.latest_job.processing_job_name


def plain(spec: Spec) -> Any:
    """What the SDK gives by itself, with defaults files of nobody."""
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.processing import ScriptProcessor

    session = Session(default_bucket=spec.bucket.name)
    session.sagemaker_config = {}
    return ScriptProcessor(
        role=spec.role, image_uri=IMAGE, command=["python3"], instance_count=1, instance_type=INSTANCE,
        sagemaker_session=session,
    )  # fmt: skip


def main(jobs: Path, found: Path) -> None:
    """Start all jobs."""
    attempts: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo":
            host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            if not guard.is_local(host):
                attempts.append(str(host))
        elif event == "socket.connect" and isinstance(arguments[1], tuple) and not guard.is_local(arguments[1][0]):
            attempts.append(str(arguments[1][0]))

    # Before the guard: what it refuses is seen first.
    sys.addaudithook(watch)
    guard.install()
    told = []
    for job in json.loads(jobs.read_text(encoding="utf-8")):
        attempts.clear()
        name = started(job)
        # The SDK's objects hold each other.
        gc.collect()
        # Telemetry goes out from threads of its own.
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(20)
        left = [path.name for path in Path(tempfile.gettempdir()).glob("sm-launch-*")]
        told.append({"name": name, "attempts": list(attempts), "left": left})
    found.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
