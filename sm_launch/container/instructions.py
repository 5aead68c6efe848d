"""What a job's container is told: its folders, its hosts, job.json and the trial's hyperparameters.

Standard library only, Python 3.8 on. Paths are those of AWS docs, "Amazon SageMaker AI Training Storage Paths" and
"Build Your Own Processing Container".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import launchers

TRAIN, MODULE = "train", "module"
MODELS = "models"
# Hyperparameters of the toolkit and of the tuning service itself.
PLATFORM_HYPERPARAMETERS = re.compile(r"sagemaker_|_tuning_objective_metric$|_kfold$|_num_kfold$")
BRACES = re.compile(
    r"\{(?:(?P<kind>channel|input|output):(?P<name>[\w.-]+)"
    r"|(?P<word>model|checkpoints|output_data|tensorboard|bundle|host_index|host_count))\}"
)


class JobError(Exception):
    """The job cannot be run; one sentence."""


class Places:
    """Where things lie in the container.

    Args:
        base: /opt/ml or what replaces it.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.processing = not (base / "input" / "config" / "resourceconfig.json").is_file()
        self.config = base / "config" if self.processing else base / "input" / "config"
        self.inputs = base / "processing" / "input" if self.processing else base / "input" / "data"
        self.outputs = base / "processing" / "output"
        self.bundle = base / "work" / "bundle"
        self.model = base / "model"
        self.message = base / "output" / ("message" if self.processing else "failure")
        self.checkpoints = base / "checkpoints"

    def cluster(self) -> launchers.Cluster:
        """The hosts of the job; of a container without resourceconfig.json, this one alone."""
        found = read_json(self.config / "resourceconfig.json", absent={})
        hosts = tuple(found.get("hosts") or ["localhost"])
        return launchers.Cluster(
            hosts,
            found.get("current_host", hosts[0]),
            found.get("network_interface_name", "eth0"),
            found.get("current_instance_type", ""),
        )

    def fill(self, value: Any, cluster: launchers.Cluster) -> Any:
        """``value`` with the braces of its strings filled in, however deep they are."""
        if isinstance(value, dict):
            return {key: self.fill(entry, cluster) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.fill(entry, cluster) for entry in value]
        if not isinstance(value, str):
            return value
        return BRACES.sub(lambda match: str(self._meant(match, cluster)), value)

    def _meant(self, match: re.Match, cluster: launchers.Cluster) -> Any:
        if match.group("name"):
            return (self.outputs if match.group("kind") == "output" else self.inputs) / match.group("name")
        return {
            "model": self.model,
            "checkpoints": self.checkpoints,
            "output_data": self.base / "output" / "data",
            "tensorboard": self.base / "output" / "tensorboard",
            "bundle": self.bundle,
            "host_index": cluster.index,
            "host_count": len(cluster.hosts),
        }[match.group("word")]


def read_json(path: Path, absent: Any = None) -> Any:
    """A JSON file's content; ``absent``, where it is not None, stands for a missing file.

    Raises:
        JobError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        if absent is not None and isinstance(error, FileNotFoundError):
            return absent
        raise JobError(f"{path}: cannot be read ({error.strerror}); the code channel must hold it.") from error
    except ValueError as error:
        raise JobError(f"{path}: is not valid JSON ({error}); make the plan anew.") from error


def join(joined: Mapping[str, Mapping[str, str]], places: Places, cluster: launchers.Cluster) -> None:
    """Make inputs of links to parts that came as inputs of their own, so a data set has its layout again.

    Args:
        joined: name of the input to make -> path in it -> where that part lies, with braces.
        places: the container's.
        cluster: the job's.
    """
    for name, parts in joined.items():
        for part, place in parts.items():
            link = places.inputs / name / part
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(places.fill(place, cluster))


def knobs(hyperparameters: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Overrides that hyperparameters stand for: JSON where they parse, else the text itself.

    Args:
        hyperparameters: of hyperparameters.json; all values are strings there.
        names: hyperparameter -> knob.
    """
    found = {}
    for name, text in hyperparameters.items():
        if PLATFORM_HYPERPARAMETERS.match(name):
            continue
        try:
            found[names.get(name, name)] = json.loads(text)
        except (TypeError, ValueError):
            found[names.get(name, name)] = text
    return found


def checkpoint_folder(overrides: Mapping[str, Any], bundle: Path) -> Path:
    """Where a training keeps its weights: its ckpt_dir, or models/ of the bundle, as the Model Zoo has it."""
    value = str(overrides.get("ckpt_dir", MODELS))
    # An expression is the bundle's own affair.
    return bundle / (MODELS if value.startswith(("$", "@", "%")) else value)


def arguments_of(job: Mapping[str, Any], places: Places, cluster: launchers.Cluster) -> tuple[list[str], dict]:
    """What Python gets in each process, and the overrides in it.

    Raises:
        JobError: job.json has another kind.
    """
    kind = job.get("kind")
    if kind == MODULE:
        return ["-m", job["module"], *(str(word) for word in places.fill(job.get("arguments", []), cluster))], {}
    if kind != TRAIN:
        raise JobError(f"job.json: the kind is '{kind}', but {TRAIN} or {MODULE} is wanted; make the plan anew.")
    if "hyperparameters" in job:
        # All trials of a search are given one place in S3; each resumes from its own checkpoints alone.
        places.checkpoints = places.checkpoints / os.environ.get("TRAINING_JOB_NAME", "trial")
    tried = knobs(read_json(places.config / "hyperparameters.json", absent={}), job.get("hyperparameters", {}))
    overrides = places.fill({"bundle_root": "{bundle}", **job.get("overrides", {}), **tried}, cluster)
    config_files = [str(places.bundle / config) for config in job["configs"]]
    # By a file: quotes, dollars and lengths would not survive a command line through every launcher.
    arguments = places.base / "work" / "arguments.json"
    arguments.write_text(json.dumps({"config_file": config_files, **overrides}, indent=2), encoding="utf-8")
    return ["-m", "monai.bundle", "run", "--args_file", str(arguments)], overrides
