"""The container's side of a job: runs a MONAI Bundle as job.json says. Standard library only, Python 3.8 on.

It is started as ContainerEntrypoint of training and processing jobs, and by the sagemaker-training toolkit as
``sagemaker_program`` of tuning trials. Beside it lie instructions.py, launchers.py, artifact.py, redaction.py,
job.json, bundle/ and, where packages must be installed, requirements.txt.

job.json::

    {"kind": "train",                    or "module"
     "configs": ["configs/train.json"],  of the bundle; kind train
     "overrides": {"epochs": 3},         knobs of any JSON value; kind train
     "module": "scripts.store",          and
     "arguments": ["--shard", "0/2"],    kind module
     "joined": {"data": {"imagesTr": "{input:images}"}},  inputs to make of parts of others
     "launch": "torchrun",               none, torchrun, mpirun or smddprun
     "processes_per_host": null,         null: one for each GPU, or one
     "redact": true,                     profile phi: mask what looks like a secret or an identity in log and reason
     "hyperparameters": {"lr": "optimizer::lr"},   hyperparameter name -> knob; others are knobs by their own name
     "keep": ["*", "!models/*_last.pt"]}           what goes into the model, see artifact.py; absent: everything

Braces in strings of overrides and arguments are filled in: {channel:NAME}, {input:NAME}, {output:NAME}, {model},
{checkpoints}, {output_data}, {tensorboard}, {bundle}, {host_index}, {host_count}. Other braces stay as they are.

$SAGEMAKER_BASE_DIR replaces /opt/ml.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import artifact
import launchers
import redaction
from instructions import TRAIN, JobError, Places, arguments_of, checkpoint_folder, join, read_json

logger = logging.getLogger("sm_launch")

CODE = Path(__file__).resolve().parent
BASE_VARIABLE = "SAGEMAKER_BASE_DIR"
WHEELS = "wheels"
TERMINATED = 128 + signal.SIGTERM
# The API's longest FailureReason and ExitMessage.
MESSAGE_CHARACTERS = 1024
LAST_LINES, REPORTED_LINES = 200, 12
ERROR_LINE = re.compile(r"(error: .+|[A-Za-z_][\w.]*(Error|Exception|Interrupt)(: .*)?)$")
# What PyTorch and mpirun put before the lines of a process.
RANK_PREFIX = re.compile(r"^(\[rank\d+\]: ?|\[\d+,\d+\]<std(out|err)>: ?)+")
# What torchrun adds after the processes' own lines begins with this.
TORCHRUNS_OWN = "torch/distributed/elastic/multiprocessing/api.py"


def count_gpus() -> int:
    """NVIDIA GPUs that this container may use; $SM_NUM_GPUS where the toolkit has counted them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return sum(name not in ("", "-1") for name in os.environ["CUDA_VISIBLE_DEVICES"].split(","))
    if os.environ.get("SM_NUM_GPUS", "").isdecimal():
        return int(os.environ["SM_NUM_GPUS"])
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def install(places: Places) -> None:
    """Install requirements.txt, from the ``wheels`` channel alone where there is one.

    Raises:
        JobError: pip failed.
    """
    requirements = CODE / "requirements.txt"
    if not requirements.is_file() or not requirements.read_text(encoding="utf-8").strip():
        return
    wheels = places.inputs / WHEELS
    offline = ["--no-index", "--find-links", str(wheels)] if wheels.is_dir() else []
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *offline]
    env = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    code = subprocess.run([*command, "-r", str(requirements)], env=env, check=False).returncode
    if code != 0:
        source = f"the channel {WHEELS}" if offline else "the package index"
        raise JobError(f"pip could not install requirements.txt from {source} (exit status {code}); see the log.")


def environment(places: Places, cluster: launchers.Cluster) -> dict[str, str]:
    """The processes' variables: the container's, and what the toolkit would tell where it has not."""
    told = {
        "SM_HOSTS": json.dumps(cluster.hosts),
        "SM_CURRENT_HOST": cluster.current,
        "SM_CURRENT_INSTANCE_TYPE": cluster.instance_type,
        "SM_NUM_GPUS": str(count_gpus()),
        "PYTHONUNBUFFERED": "1",
    }
    if len(cluster.hosts) > 1:
        told.update(NCCL_SOCKET_IFNAME=cluster.interface, GLOO_SOCKET_IFNAME=cluster.interface)
    env = {**told, **os.environ}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(places.bundle), os.environ.get("PYTHONPATH", "")]))
    return env


class Child:
    """The job's main process; its lines go on to the log, the last ones are kept, SIGTERM is passed on.

    Attributes:
        redacted: whether lines are masked before anybody but this process sees them.
    """

    def __init__(self) -> None:
        self.lines: deque = deque(maxlen=LAST_LINES)
        self.process: subprocess.Popen | None = None
        self.told = False
        self.redacted = False
        signal.signal(signal.SIGTERM, self._terminate)

    def run(self, command: list[str], cwd: Path, env: Mapping[str, str]) -> int:
        """The exit status; 143 where SIGTERM ended it."""
        logger.info("starts: %s", " ".join(command))
        self.process = subprocess.Popen(
            command, cwd=str(cwd), env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if self.told:
            self._terminate()
        for line in self.process.stdout:
            text = self.cleaned(line.decode("utf-8", "replace").rstrip())
            sys.stdout.buffer.write(text.encode() + b"\n" if self.redacted else line)
            sys.stdout.buffer.flush()
            self.lines.append(text)
        code = self.process.wait()
        if self.told and code != 0:
            return TERMINATED
        return code if code >= 0 else 128 - code

    def cleaned(self, text: str) -> str:
        """A text as the log and the platform may have it."""
        return redaction.redact(text) if self.redacted else text

    def _terminate(self, *_: Any) -> None:
        self.told = True
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


def reason(code: int, lines: Sequence[str]) -> str:
    """Why a process failed: its error's line, then its last lines."""
    own = [RANK_PREFIX.sub("", line) for line in itertools.takewhile(lambda line: TORCHRUNS_OWN not in line, lines)]
    errors = [line.strip() for line in own if ERROR_LINE.match(line.strip())]
    # A bundle's own sentence, else the first error: later ones tell what it caused, in MONAI and in other processes.
    plain = [line for line in errors if line.startswith("error: ")]
    sentence = (plain[:1] or errors[:1] or [f"the process ended with exit status {code}"])[0]
    return "\n".join([sentence, *[line for line in own if line.strip() and line.strip() != sentence][-REPORTED_LINES:]])


def run(places: Places, child: Child) -> int:
    """Run the job; returns the exit status.

    Raises:
        JobError: it cannot be started.
    """
    job = read_json(CODE / "job.json")
    if job.get("redact"):
        child.redacted = True
        for handler in logging.getLogger().handlers:
            handler.addFilter(mask)
    launch = job.get("launch", launchers.NONE)
    if launch not in launchers.LAUNCHERS:
        raise JobError(f"job.json: launch is '{launch}', but one of {', '.join(launchers.LAUNCHERS)} is wanted.")
    cluster = places.cluster()
    install(places)
    # Bundles write beside their configs; the channel stays as it came.
    shutil.copytree(str(CODE / "bundle"), str(places.bundle), dirs_exist_ok=True)
    join(job.get("joined", {}), places, cluster)
    arguments, overrides = arguments_of(job, places, cluster)
    env = environment(places, cluster)
    processes = int(job.get("processes_per_host") or count_gpus() or 1)
    command = launchers.launched(launch, cluster, processes, env, sys.executable, arguments)
    if launch != launchers.NONE and len(cluster.hosts) > 1:
        launchers.wait_for_names(cluster)
    by_ssh = launch in (launchers.MPIRUN, launchers.SMDDPRUN) and len(cluster.hosts) > 1
    daemon = launchers.start_sshd() if by_ssh else None
    if command is None:
        launchers.wait_for_orted()
        code = 0
    else:
        if daemon is not None:
            launchers.wait_for_ssh(cluster)
        code = child.run(command, places.bundle, env)
    if daemon is not None:
        daemon.terminate()
    if code not in (0, TERMINATED):
        tell(places, reason(code, child.lines))
    elif job["kind"] == TRAIN and cluster.index == 0:
        leave_model(job, places, overrides, finished=code == 0)
    return code


def mask(record: logging.LogRecord) -> bool:
    """A filter that lets every record through, redacted."""
    record.msg, record.args = redaction.redact(record.getMessage()), ()
    return True


def leave_model(job: Mapping[str, Any], places: Places, overrides: Mapping[str, Any], finished: bool) -> None:
    """Assemble the artifact; of a training that was told to stop, only if it has kept something."""
    checkpoints = checkpoint_folder(overrides, places.bundle)
    if artifact.files_in(checkpoints) or finished:
        artifact.assemble(CODE / "bundle", checkpoints, places.model, job.get("keep") or ["*"], overrides)
    if not artifact.files_in(checkpoints):
        logger.warning("%s holds no weights: set the knob ckpt_dir to where the bundle keeps them", checkpoints)


def tell(places: Places, text: str) -> None:
    """Leave the reason of a failure where the platform looks for it."""
    places.message.parent.mkdir(parents=True, exist_ok=True)
    places.message.write_text(text[:MESSAGE_CHARACTERS], encoding="utf-8")


def main() -> int:
    """Run the job of the container."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="[sm_launch] %(message)s")
    places = Places(Path(os.environ.get(BASE_VARIABLE, "/opt/ml")))
    (places.base / "work").mkdir(parents=True, exist_ok=True)
    child = Child()
    try:
        return run(places, child)
    except (JobError, OSError) as error:
        logger.error("%s", error)
        tell(places, child.cleaned(f"error: {error}"))
        return 1


if __name__ == "__main__":
    sys.exit(main())
