"""Rules of training: spot, warm pools, metrics, channels, packages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.steps import Plan
from sm_launch.views import CREATE_PROCESSING, Training, channels, of, requirements, trainings

# docs, "Train Using SageMaker Managed Warm Pools"; the API model itself says 21600.
WARM_POOL_LIMIT_S = 3600
WHEELS_CHANNEL = "wheels"
LONGEST_RUN_S = 28 * 24 * 3600
# A name, extras, versions, a marker and pip's options, as PEP 508 and pip have them; packaging reads it better, and
# would be a dependency.
_VERSION = r"(?:===|~=|==|!=|<=|>=|<|>)\s*[\w.*+!-]*[\w*]"
_VERSIONS = rf"{_VERSION}(?:\s*,\s*{_VERSION})*\s*,?"
_PACKAGE = re.compile(
    rf"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?\s*(?:\[[\w\s,.-]*\]\s*)?(?:\(\s*{_VERSIONS}\s*\)|{_VERSIONS})?"
    r"\s*(?:;.+?)?(?:\s--\S.*)?"
)
# What ends a line: a comment, or that it goes on in the next one.
_END = re.compile(r"\s#.*|\\\s*$")


def longest_run(plan: Plan) -> Iterator[str]:
    """A training runs for 28 days at most (API reference, StoppingCondition)."""
    for training in trainings(plan):
        seconds = training.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 0)
        if seconds > LONGEST_RUN_S:
            yield (
                f"{training.step.name}: {training.path}StoppingCondition.MaxRuntimeInSeconds is {seconds}, and AWS "
                f"runs a training for {LONGEST_RUN_S} s at most; lower train.max_hours to {LONGEST_RUN_S / 3600:g}."
            )


def spot_wait(plan: Plan) -> Iterator[str]:
    """Spot training waits at least as long as it may run (API reference, StoppingCondition)."""
    for training in trainings(plan):
        stop = training.request.get("StoppingCondition", {})
        if not training.spot:
            continue
        run, wait = stop.get("MaxRuntimeInSeconds", 86_400), stop.get("MaxWaitTimeInSeconds")
        if wait is None or wait < run:
            yield (
                f"{training.step.name}: {training.path}StoppingCondition.MaxWaitTimeInSeconds is "
                f"{'absent' if wait is None else wait}, and spot training takes at least MaxRuntimeInSeconds, {run}; "
                f"set train.max_wait_hours to {run / 3600:g} or more."
            )


def spot_only_wait(plan: Plan) -> Iterator[str]:
    """Only spot training has a MaxWaitTimeInSeconds (API reference, StoppingCondition)."""
    for training in trainings(plan):
        if not training.spot and "MaxWaitTimeInSeconds" in training.request.get("StoppingCondition", {}):
            yield (
                f"{training.step.name}: {training.path}StoppingCondition.MaxWaitTimeInSeconds is given without "
                f"EnableManagedSpotTraining, and AWS refuses that; remove train.max_wait_hours or ask for spot."
            )


def spot_checkpoint(plan: Plan) -> Iterator[str]:
    """Spot training keeps checkpoints in S3: an interruption takes everything else with it."""
    for training in trainings(plan):
        if training.spot and not training.request.get("CheckpointConfig", {}).get("S3Uri"):
            yield (
                f"{training.step.name}: {training.path}CheckpointConfig is absent, and spot training would begin anew "
                f"after each interruption; give a checkpoint prefix in S3."
            )


def warm_pool_spot(plan: Plan) -> Iterator[str]:
    """A warm pool isn't kept for spot training (docs, "Train Using SageMaker Managed Warm Pools")."""
    for training in _with_warm_pool(plan):
        if training.spot:
            yield (
                f"{training.step.name}: {training.path}ResourceConfig.KeepAlivePeriodInSeconds is "
                f"{keep_alive(training)} together with EnableManagedSpotTraining, and AWS keeps no warm pool of spot "
                f"machines; remove keep_alive or spot."
            )


def warm_pool_groups(plan: Plan) -> Iterator[str]:
    """A warm pool has machines of one type (docs, "Train Using SageMaker Managed Warm Pools")."""
    for training in _with_warm_pool(plan):
        if training.request["ResourceConfig"].get("InstanceGroups"):
            yield (
                f"{training.step.name}: {training.path}ResourceConfig.KeepAlivePeriodInSeconds is "
                f"{keep_alive(training)} together with InstanceGroups, and AWS keeps no warm pool of several types; "
                f"remove keep_alive or take one instance type."
            )


def warm_pool_length(plan: Plan) -> Iterator[str]:
    """A warm pool is kept for an hour at most (docs, "Train Using SageMaker Managed Warm Pools")."""
    for training in _with_warm_pool(plan):
        if keep_alive(training) > WARM_POOL_LIMIT_S:
            yield (
                f"{training.step.name}: {training.path}ResourceConfig.KeepAlivePeriodInSeconds is "
                f"{keep_alive(training)}, and AWS keeps a warm pool for {WARM_POOL_LIMIT_S} s at most; lower it."
            )


def metric_regex(plan: Plan) -> Iterator[str]:
    """A metric's regular expression is valid, has one group, and neither matches nor captures the empty text."""
    for training in trainings(plan):
        metrics = training.request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        for index, metric in enumerate(metrics):
            where = f"{training.step.name}: {training.path}AlgorithmSpecification.MetricDefinitions[{index}].Regex"
            regex = metric.get("Regex", "")
            try:
                compiled = re.compile(regex)
            except re.error as error:
                yield f"{where} is {regex!r}, which is no regular expression ({error}); mend it."
                continue
            if compiled.groups != 1:
                yield f"{where} is {regex!r} with {compiled.groups} groups, and AWS reads the value from one; use one."
            elif compiled.search("") or re.fullmatch(_first_group(regex), ""):
                yield (
                    f"{where} is {regex!r}, which can capture an empty text, and AWS would record no number; "
                    f"write the group as ([0-9.eE+-]+)."
                )


def channel_names(plan: Plan) -> Iterator[str]:
    """Channel names differ: each is a folder under /opt/ml/input/data."""
    for training in trainings(plan):
        names = Counter(channel.get("ChannelName") for _, channel in channels(training))
        for name, count in names.items():
            if count > 1:
                yield (
                    f"{training.step.name}: {training.path}InputDataConfig has {count} channels named {name!r}, and "
                    f"each needs a name of its own; rename them."
                )


def isolated_install(plan: Plan) -> Iterator[str]:
    """An isolated job that installs packages brings them as wheels: there is no package index within reach."""
    jobs = [
        (one.step, one.path, one.request, one.request, {channel.get("ChannelName") for _, channel in channels(one)})
        for one in trainings(plan)
    ]
    for step in of(plan, CREATE_PROCESSING):
        names = {given.get("InputName") for given in step.request.get("ProcessingInputs", ())}
        jobs.append((step, "NetworkConfig.", step.request.get("NetworkConfig", {}), step.request, names))
    for step, path, network, request, names in jobs:
        wanted = packages(plan, request)
        if network.get("EnableNetworkIsolation") and wanted and WHEELS_CHANNEL not in names:
            yield (
                f"{step.name}: {path}EnableNetworkIsolation is true and requirements.txt wants {wanted[0]!r}, "
                f"which cannot be downloaded then; add a {WHEELS_CHANNEL!r} channel that holds the wheels."
            )


def package_lines(plan: Plan) -> Iterator[str]:
    """Every package is named as pip reads it (PEP 508), or is one of pip's own options."""
    jobs = [(one.step, one.request) for one in trainings(plan)]
    for step, request in [*jobs, *((step, step.request) for step in of(plan, CREATE_PROCESSING))]:
        for line in packages(plan, request):
            wanted = _END.sub("", line).strip()
            # Options, files and addresses are pip's own to judge.
            own = line.startswith(("-", ".")) or "/" in line.split()[0] or "://" in line
            if not own and not _PACKAGE.fullmatch(wanted):
                yield (
                    f"{step.name}: requirements.txt has the line {line!r}, which pip does not read; write a name with "
                    "a version, such as nibabel==5.3.2."
                )


def packages(plan: Plan, request: Mapping[str, Any]) -> list[str]:
    """The lines of the requirements.txt that a job installs, without comments and empty ones."""
    lines = [line.strip() for line in requirements(plan, request)]
    return [line for line in lines if line and not line.startswith("#")]


def _with_warm_pool(plan: Plan) -> Iterator[Training]:
    return (training for training in trainings(plan) if keep_alive(training))


def keep_alive(training: Training) -> int:
    """Seconds for which its machines are kept afterwards; 0 without a warm pool."""
    return training.request.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds", 0)


def _first_group(regex: str) -> str:
    """The text between the parentheses of a regular expression's only group."""
    start, depth, position, in_class = -1, 0, 0, False
    while position < len(regex):
        letter = regex[position]
        if letter == "\\":
            position += 2
            continue
        if in_class:
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
        elif letter == "(":
            captures = not regex.startswith("(?", position) or regex.startswith("(?P<", position)
            if start < 0 and captures:
                start, depth = position + 1, 0
            elif start >= 0:
                depth += 1
        elif letter == ")" and start >= 0:
            if depth == 0:
                return re.sub(r"^\?P<\w+>", "", regex[start:position])
            depth -= 1
        position += 1
    return regex
