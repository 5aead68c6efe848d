"""CreateProcessingJob: a module of the bundle on N machines, each with its share of the cases."""

from __future__ import annotations

import re
from typing import Any

from sm_launch.braces import check_braces
from sm_launch.bundle import requirements
from sm_launch.code_channel import ENTRY
from sm_launch.errors import LaunchError
from sm_launch.frame import Frame, is_object, prefix, seconds, training_image
from sm_launch.rules_training import WHEELS_CHANNEL
from sm_launch.spec_jobs import Preprocess, Train

PREPROCESS = "preprocess"
INPUT = "/opt/ml/processing/input"
OUTPUT = "/opt/ml/processing/output"
DATA = "data"


def processing_job(frame: Frame, preprocess: Preprocess) -> dict[str, Any]:
    """Content of the code channel's job.json.

    Parts of the data set that come as inputs of their own are joined to one folder again, so the bundle sees the layout
    that it knows.

    Raises:
        LaunchError: the module is not in the bundle, or an argument names a folder that the job does not have.
    """
    _check_module(frame, preprocess.module)
    inputs = dict.fromkeys([DATA, *(one["InputName"] for one in _inputs(frame, preprocess))])
    arguments = arguments_of(preprocess, frame.spec.train)
    check_braces(arguments, "preprocess.arguments", inputs, (preprocess.output,))
    job: dict[str, Any] = {
        "kind": "module",
        "module": preprocess.module,
        "arguments": arguments,
        "launch": "none",
        **frame.redaction(),
    }
    if preprocess.sharded:
        parts = (*preprocess.sharded, *preprocess.replicated)
        job["joined"] = {DATA: {part: _place(part) for part in parts}}
    return job


def _check_module(frame: Frame, module: str) -> None:
    """A module of the bundle is there; one of a package, whose first folder the bundle does not have, may be installed.

    ``scripts`` is where bundles keep their own.
    """
    first, file = module.split(".")[0], module.replace(".", "/")
    there = {one.name for one in frame.bundle.files}
    own = first == "scripts" or any(name.startswith((f"{first}/", f"{first}.py")) for name in there)
    if own and not {f"{file}.py", f"{file}/__main__.py"} & there:
        raise LaunchError(
            f"preprocess.module is '{module}', and the bundle {frame.bundle.root} has no {file}.py; set it to a module "
            "of the bundle that prepares the data."
        )


def arguments_of(preprocess: Preprocess, train: Train | None) -> list[str]:
    """The module's command line: each machine takes a share of the cases, or what it was dealt.

    The cases are made by the configs that the training names, which refuses a store of another recipe.
    """
    if preprocess.arguments is not None:
        return list(preprocess.arguments)
    share = ["--only_present"] if preprocess.sharded else ["--shard", "{host_index}/{host_count}"]
    recipe = ["--config_file", *train.configs] if train and train.configs != Train.configs else []
    return ["--dataset_dir", f"{{input:{DATA}}}", "--store_dir", f"{{output:{preprocess.output}}}", *share, *recipe]


def _place(part: str) -> str:
    """Where a part of the data set lies in the container: a single object lies in a folder of its own."""
    name = part.rsplit("/", 1)[-1]
    return f"{{input:{input_name(part)}}}" + (f"/{name}" if is_object(name) else "")


def packages_of(frame: Frame, preprocess: Preprocess) -> tuple[str, ...]:
    """What pip installs at start: the spec's list, or what the bundle's metadata asks for."""
    return requirements(frame.bundle.metadata) if preprocess.packages is None else preprocess.packages


def input_name(part: str) -> str:
    """Name of the input that brings a part of the data set."""
    return f"{DATA}-{re.sub('[^A-Za-z0-9]+', '-', part).strip('-')}"


def processing_request(frame: Frame, preprocess: Preprocess) -> dict[str, Any]:
    """The request.

    Raises:
        LaunchError: the spec has no data.
    """
    cluster = {
        "InstanceType": preprocess.instance_type,
        "InstanceCount": preprocess.instance_count,
        "VolumeSizeInGB": preprocess.volume_gb,
        **frame.volume_key(preprocess.instance_type),
    }
    output = {
        "OutputName": preprocess.output,
        "S3Output": {
            "S3Uri": frame.uri(preprocess.output),
            "LocalPath": f"{OUTPUT}/{preprocess.output}",
            "S3UploadMode": "EndOfJob",
        },
    }
    request: dict[str, Any] = {
        "ProcessingJobName": f"{frame.run}-{PREPROCESS}",
        "ProcessingInputs": _inputs(frame, preprocess),
        "ProcessingOutputConfig": {"Outputs": [output], **frame.output_key()},
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds(preprocess.max_hours)},
        "AppSpecification": {
            "ImageUri": preprocess.image or training_image(frame.spec.region, preprocess.instance_type),
            "ContainerEntrypoint": ["python3", f"{INPUT}/code/{ENTRY}"],
        },
        "NetworkConfig": {**frame.isolation(), **frame.network()},
        "RoleArn": frame.spec.role,
        "Tags": frame.tags(),
    }
    if preprocess.environment:
        request["Environment"] = dict(preprocess.environment)
    return request


def _inputs(frame: Frame, preprocess: Preprocess) -> list[dict[str, Any]]:
    """ProcessingInputs: code, wheels and the data set.

    ``sharded`` folders are dealt object by object, all else goes to every machine: with images dealt and the small
    labels everywhere, image and label of a case always meet, without zipping them.
    """
    data = frame.data_uri()
    if data is None:
        raise LaunchError("preprocess: there is no data to work on; add data.source to the spec.")
    if preprocess.sharded:
        inputs = [_input(input_name(p), f"{data}/{p}", "ShardedByS3Key") for p in preprocess.sharded]
        inputs += [_input(input_name(p), f"{data}/{p}") for p in preprocess.replicated]
    else:
        inputs = [_input(DATA, data)]
    uri = frame.wheels_uri()
    wheels = [_input(WHEELS_CHANNEL, uri)] if uri else []
    return [_input("code", frame.uri(f"code-{PREPROCESS}")), *wheels, *inputs]


def _input(name: str, uri: str, distribution: str = "FullyReplicated") -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": prefix(uri),
            "LocalPath": f"{INPUT}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": distribution,
        },
    }
