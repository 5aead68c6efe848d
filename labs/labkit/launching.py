"""Lab 06: specs, plans and their rights looked at from Python, and the published runs on p3 machines with a bill."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from scripts.scaling_published import PUBLISHED_EPOCHS_S

from sm_launch.checks import problems
from sm_launch.commands_plan import policies
from sm_launch.errors import LaunchError
from sm_launch.plan import new_run
from sm_launch.reading import read
from sm_launch.steps import Plan

from .checks import answered, require, right
from .costs import bill, price
from .launch_plans import plan_of
from .tables import Table, table

# aws.amazon.com/blogs/industries/scalable-medical-computer-vision-model-training-with-amazon-sagemaker-part-2/
PUBLISHED_EPOCHS = 10
PUBLISHED_MACHINES: Mapping[int, tuple[str, int]] = {
    1: ("ml.p3.2xlarge", 1),
    8: ("ml.p3.16xlarge", 1),
    16: ("ml.p3.16xlarge", 2),
}
# Not a key of anybody: what a secret looks like in a request, for searching it there.
EXAMPLE_KEY = "an-example-and-no-key-of-anybody"
TRACKING_SERVER = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/lab"
# Ways to let a job report to a tracker, as changes of a spec.
TRACKER_WAYS: Mapping[str, str] = {
    "environment": f"train.environment={{WANDB_API_KEY: {EXAMPLE_KEY}}}",
    "override": f"train.overrides={{+wandb_api_key: {EXAMPLE_KEY}}}",
    "tag": f"tags={{wandb: {EXAMPLE_KEY}}}",
    "role": f"train.mlflow_arn={TRACKING_SERVER}",
}
_EPOCH = re.compile(r"epoch \d+/\d+ .*?  ([0-9.]+) s  ")
_SECONDS_PER_HOUR = 3600


def write_spec(file: Path, content: Mapping[str, Any]) -> Path:
    """Write a spec as YAML; returns the file."""
    file.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    return file


def run_id(spec: Path) -> str:
    """An id for a run that begins now: the spec's name and the time."""
    return new_run(read(spec), datetime.now(timezone.utc))


def refusals(spec: Path, run: str, changes: Sequence[str]) -> list[str]:
    """Why a changed spec may not be carried out, a sentence each; empty if it may."""
    try:
        return problems(plan_of(spec, run, changes))
    except LaunchError as error:
        return [str(error)]


def statements(documents: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The statements of the parts of an IAM policy."""
    for document in documents:
        yield from document["Statement"]


def rights(plan: Plan, who: str) -> Table:
    """What the policy of a plan allows, a row a statement.

    Args:
        plan: the plan.
        who: ``caller``, who runs sm_launch, or ``role``, what the job runs as.
    """
    rows = [
        [", ".join(one["Action"]), ", ".join(resource.split(":::")[-1] for resource in one["Resource"])]
        for one in statements(policies(plan)[who])
    ]
    return table(rows, ("may", "on"), f"Policy of the {who}")


def may(documents: Sequence[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Whether a policy allows an action on a resource; conditions, which only narrow it, are left out.

    Args:
        documents: parts of a policy whose statements all allow.
        action: such as ``s3:GetObject``.
        resource: ARN.
    """
    return any(
        any(fnmatchcase(action, pattern) for pattern in one["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in one["Resource"])
        for one in statements(documents)
    )


def carriers(plan: Plan, text: str = EXAMPLE_KEY) -> list[str]:
    """Where a text stands that a plan sends to AWS: members of requests, and files that go to S3."""
    found = [
        f"{step.operation}.{path}" for step in plan.steps for path, value in _leaves(step.request, "") if text in value
    ]
    files = [upload.uri.rsplit("/", 1)[-1] for upload in plan.uploads if upload.data and text.encode() in upload.data]
    return found + files


def training_seconds(log: str) -> float:
    """Seconds that the epochs of a job took, by the lines that it wrote.

    Raises:
        ValueError: the log has no line of an epoch.
    """
    epochs = [float(found) for found in _EPOCH.findall(log)]
    if not epochs:
        raise ValueError("the log has no line 'epoch 1/3 ... s'; show the output of a training by the bundle.")
    return sum(epochs)


@dataclass(frozen=True)
class PublishedRun:
    """One of AWS's published trainings, ten epochs on 48,400 copies of 484 cases.

    Attributes:
        gpus: in all machines together.
        hours: of the ten epochs.
        dollars: at the price table's on-demand prices.
    """

    gpus: int
    hours: float
    dollars: float


def published_runs() -> list[PublishedRun]:
    """The published trainings on 1, 8 and 16 V100 and what they cost."""
    runs = []
    for gpus, (machine, count) in PUBLISHED_MACHINES.items():
        hours = PUBLISHED_EPOCHS * PUBLISHED_EPOCHS_S[gpus] / _SECONDS_PER_HOUR
        runs.append(PublishedRun(gpus, hours, count * hours * price(machine)))
    return runs


def published_bill(gpus: int) -> Table:
    """The arithmetic of one published training."""
    machine, count = PUBLISHED_MACHINES[gpus]
    return bill([(machine, count, PUBLISHED_EPOCHS * PUBLISHED_EPOCHS_S[gpus] / _SECONDS_PER_HOUR)])


def check_spot(spec: Path, run: str, max_wait_hours: Any) -> None:
    """Exercise: a spot training that AWS takes.

    Raises:
        NotYet: there is no answer, or the plan is refused.
    """
    wait = answered(max_wait_hours, "max_wait_hours")
    require(isinstance(wait, int | float) and not isinstance(wait, bool), "Write a number of hours.")
    changes = ["train.spot=true", "train.max_hours=24", f"train.max_wait_hours={wait}"]
    require(
        not refusals(spec, run, changes),
        f"AWS would still refuse {wait} h. The wait counts from the submission and goes on while the job trains: which "
        "of the two limits must have room for the other?",
    )
    right(
        "max_wait counts waiting for capacity and training together, so it is at least max_run. The launcher also "
        "keeps checkpoints in S3 and resumes from them, without which spot begins anew after each interruption."
    )


def check_leaks(spec: Path, run: str, leaks: Any) -> None:
    """Exercise: which ways to a tracker carry a secret to where others read it.

    Args:
        spec: YAML file.
        run: the run's id.
        leaks: the set of names of ``TRACKER_WAYS`` that do.

    Raises:
        NotYet: there is no answer, or another set leaks.
    """
    chosen = set(answered(leaks, "leaks"))
    unknown = chosen - set(TRACKER_WAYS)
    require(not unknown, f"There is no way called {', '.join(map(repr, unknown))}; choose among {list(TRACKER_WAYS)}.")
    found = {name for name, change in TRACKER_WAYS.items() if carriers(plan_of(spec, run, [change]))}
    require(not chosen - found, "One of yours sends no key at all. What does a job need to be let in by its own role?")
    require(
        chosen >= found,
        f"{len(found - chosen)} more: print carriers(plan) of each way. A key in a file in S3 is as readable as one in "
        "a request.",
    )
    right(
        "A request is shown by DescribeTrainingJob and in the console to everybody who may look at jobs, and files of "
        "a run lie in S3 and in the model. A role needs no key: AWS gives the job credentials that end with it."
    )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)
