"""Rules of trainings on several GPUs: launchers, images, PyTorch, SageMaker's data parallel library (SMDDP)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sm_launch.images import Image, describe
from sm_launch.instances import Instance, instance, known, smddp_types
from sm_launch.steps import Plan
from sm_launch.table import table
from sm_launch.views import (
    CREATE_MODEL,
    CREATE_PROCESSING,
    Fleet,
    Training,
    fleets,
    instructions,
    of,
    requirements,
    trainings,
)

NO_LAUNCHER, SMDDP_LAUNCHER, SMDDP_BACKEND, NCCL = "none", "smddprun", "smddp", "nccl"
# From the metadata of the releases: the oldest PyTorch that a MONAI release accepts.
_MONAI_TORCH = {(1, 6): (2, 8), (1, 5): (2, 4, 1)}
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.")


def image_region(plan: Plan) -> Iterator[str]:
    """An image in ECR lies in the job's region (API reference, AlgorithmSpecification.TrainingImage)."""
    named = [
        (training.step.name, f"{training.path}AlgorithmSpecification.TrainingImage", training.image)
        for training in trainings(plan)
    ]
    for step in of(plan, CREATE_PROCESSING):
        named.append(
            (step.name, "AppSpecification.ImageUri", step.request.get("AppSpecification", {}).get("ImageUri", ""))
        )
    for step in of(plan, CREATE_MODEL):
        named.append((step.name, "PrimaryContainer.Image", step.request.get("PrimaryContainer", {}).get("Image", "")))
    for name, path, uri in named:
        found = _ECR.match(uri)
        if found and found[1] != plan.region:
            yield (
                f"{name}: {path} lies in {found[1]}, and a job in {plan.region} takes an image of its own region; "
                f"give the URI there."
            )


def processes_without_gpus(plan: Plan) -> Iterator[str]:
    """One process per GPU asks for an instance type with GPUs."""
    for training, fleet, kind in _gpu_trainings(plan):
        job = instructions(plan, training.request)
        if kind.gpus == 0 and (job.get("processes_per_host") is None or _backend(job) == NCCL):
            yield (
                f"{training.step.name}: launch is {job['launch']!r}, one process per GPU, and {fleet.instance_type} "
                f"has none; take a GPU type, or give processes_per_host and the backend gloo to train on processors."
            )


def more_processes_than_gpus(plan: Plan) -> Iterator[str]:
    """A machine starts no more processes than it has GPUs."""
    for training, fleet, kind in _gpu_trainings(plan):
        processes = instructions(plan, training.request).get("processes_per_host")
        if kind.gpus and processes and processes > kind.gpus:
            yield (
                f"{training.step.name}: processes_per_host is {processes}, and {fleet.instance_type} has {kind.gpus} "
                f"GPU{'s' * (kind.gpus > 1)}; lower it, or leave it out to take one process per GPU."
            )


def smddp_type(plan: Plan) -> Iterator[str]:
    """SMDDP runs on ml.p4d.24xlarge and ml.p4de.24xlarge (and the legacy ml.p3dn.24xlarge) only."""
    for training, fleet in _smddp_trainings(plan):
        if fleet.instance_type not in smddp_types():
            yield (
                f"{training.step.name}: SMDDP is asked for on {fleet.instance_type}, and it runs on "
                f"{', '.join(smddp_types())} only; take one of them, or the backend nccl."
            )


def smddp_image(plan: Plan) -> Iterator[str]:
    """SMDDP comes with some of AWS's images; it cannot be installed from PyPI."""
    rows = table("images")["images"].items()
    with_it = " or ".join(f"PyTorch {version}'s" for version, row in rows if "smddp" in row)
    for training, _ in _smddp_trainings(plan):
        image = describe(training.image)
        if image is not None and not image.smddp:
            yield (
                f"{training.step.name}: SMDDP is asked for, and the image's PyTorch {image.torch} comes without it; "
                f"take {with_it} image, or the backend nccl."
            )


def monai_needs_newer_torch(plan: Plan) -> Iterator[str]:
    """The MONAI that requirements.txt asks for accepts the image's PyTorch."""
    for training in trainings(plan):
        image, wanted = describe(training.image), _wanted_monai(requirements(plan, training.request))
        if image is None or wanted is None:
            continue
        least = _MONAI_TORCH.get(wanted)
        if least and _version(image.torch) < least:
            fits = [monai for monai, torch in _MONAI_TORCH.items() if _version(image.torch) >= torch]
            remedy = f"ask for monai=={'.'.join(map(str, fits[0]))}.*" if fits else "take a newer image"
            yield (
                f"{training.step.name}: requirements.txt asks for MONAI {'.'.join(map(str, wanted))}, which needs "
                f"PyTorch {'.'.join(map(str, least))} or newer, and the image has {image.torch}; {remedy}, or pip "
                f"would replace the image's PyTorch."
            )


def nccl_is_better(plan: Plan) -> Iterator[str]:
    """Says when NCCL is the better choice than SMDDP, and why."""
    for training, fleet in _smddp_trainings(plan):
        image = describe(training.image) or Image(torch="")
        default = table("images")["images"][table("images")["default"]]
        if fleet.count == 1:
            why = "on one machine gradients travel by NVLink, where SMDDP gains nothing over NCCL"
        else:
            why = (
                f"SMDDP's last release is of 2024 for PyTorch {image.torch or '2.4.1'}, whereas NCCL over EFA runs on "
                f"the default image with PyTorch {default['torch']} and MONAI 1.6"
            )
        yield (
            f"{training.step.name}: NCCL is the better choice than SMDDP unless you measured otherwise: {why}; "
            f"set the backend to nccl and launch by torchrun."
        )


def no_efa(plan: Plan) -> Iterator[str]:
    """Says when several machines would exchange gradients without the Elastic Fabric Adapter."""
    for training, fleet, kind in _gpu_trainings(plan):
        if fleet.count > 1 and kind.gpus and not kind.efa:
            yield (
                f"{training.step.name}: {fleet.count} x {fleet.instance_type} exchange gradients over TCP, for the "
                f"type has no EFA; one machine with more GPUs is usually faster and no dearer."
            )


def _gpu_trainings(plan: Plan) -> Iterator[tuple[Training, Fleet, Instance]]:
    """Trainings that a launcher starts, with each set of machines of theirs that the table knows."""
    for training, fleet in _machines(plan):
        launched = instructions(plan, training.request).get("launch", NO_LAUNCHER) != NO_LAUNCHER
        if launched and known(fleet.instance_type):
            yield training, fleet, instance(fleet.instance_type)


def _smddp_trainings(plan: Plan) -> Iterator[tuple[Training, Fleet]]:
    for training, fleet in _machines(plan):
        job = instructions(plan, training.request)
        if job.get("launch") == SMDDP_LAUNCHER or _backend(job) == SMDDP_BACKEND:
            yield training, fleet


def _machines(plan: Plan) -> Iterator[tuple[Training, Fleet]]:
    for training in trainings(plan):
        for fleet in fleets(plan):
            if fleet.step is training.step and fleet.path.startswith(training.path):
                yield training, fleet


def _backend(job: Mapping[str, Any]) -> str:
    return job.get("overrides", {}).get("backend", "")


def _wanted_monai(lines: list[str]) -> tuple[int, int] | None:
    """Major and minor version of MONAI that pip would install; the newest known where the line names none."""
    for line in lines:
        found = re.fullmatch(r"monai(?:\[[^\]]*\])?\s*(?:(==|~=|<=|>=)\s*(\d+)\.(\d+)\S*)?(?:\s*[;#].*)?", line.strip())
        if found:
            bounded = found[1] in ("==", "~=", "<=")
            return (int(found[2]), int(found[3])) if bounded else next(iter(_MONAI_TORCH))
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
