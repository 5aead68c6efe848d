"""What the environment of the container says; CreateModel's ``Environment`` sets it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import StartError

MB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """Where the model is, where to listen, and how much a request may ask for.

    Attributes:
        model_dir: MODEL_DIR; the folder of ``bundle/`` and ``manifest.json``.
        host: BIND_HOST; SageMaker reaches the container from outside, so all interfaces by default.
        port: SAGEMAKER_BIND_TO_PORT.
        configs: BUNDLE_CONFIG; config files relative to the bundle, separated by commas, merged in this order.
        run_id: RUN_ID; the config's entry to run. Empty takes ``run``, or ``evaluating`` where there is no ``run``.
        overrides: BUNDLE_OVERRIDES; a JSON object of config ids and values.
        manifest_sha256: MANIFEST_SHA256; what the manifest itself must hash to. Empty does not check that.
        max_body_bytes: MAX_BODY_MB; the largest request body.
        max_voxels: MAX_VOXELS; values of an image, all channels together.
        max_litres: MAX_LITRES; physical extent of a volume, which bounds what resampling can make of it.
        max_queue: MAX_QUEUE; requests that wait while one is computed; more are told to come back (429).
        body_seconds: BODY_TIMEOUT_S; time in which a body must have arrived.
        warmup_input: WARMUP_INPUT; a file relative to the bundle to warm up with. Empty makes one from metadata.json.
    """

    model_dir: Path = Path("/opt/ml/model")
    host: str = "0.0.0.0"
    port: int = 8080
    configs: tuple[str, ...] = ("configs/inference.json",)
    run_id: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    manifest_sha256: str = ""
    max_body_bytes: int = 1024 * MB
    max_voxels: int = 512**3 * 2
    max_litres: float = 200.0
    max_queue: int = 4
    body_seconds: float = 300.0
    warmup_input: str = ""


def from_environment(env: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        StartError: a value is not of its kind.
    """
    default = Settings()
    base = env.get("SAGEMAKER_BASE_DIR")
    model_dir = env.get("MODEL_DIR") or (str(Path(base) / "model") if base else str(default.model_dir))
    return Settings(
        model_dir=Path(model_dir),
        host=env.get("BIND_HOST", default.host),
        port=_number(env, "SAGEMAKER_BIND_TO_PORT", default.port),
        configs=tuple(name.strip() for name in env.get("BUNDLE_CONFIG", ",".join(default.configs)).split(",")),
        run_id=env.get("RUN_ID", default.run_id),
        overrides=_overrides(env.get("BUNDLE_OVERRIDES", "{}")),
        manifest_sha256=env.get("MANIFEST_SHA256", default.manifest_sha256),
        max_body_bytes=_number(env, "MAX_BODY_MB", default.max_body_bytes // MB) * MB,
        max_voxels=_number(env, "MAX_VOXELS", default.max_voxels),
        max_litres=_number(env, "MAX_LITRES", int(default.max_litres)),
        max_queue=_number(env, "MAX_QUEUE", default.max_queue, least=0),
        body_seconds=_number(env, "BODY_TIMEOUT_S", int(default.body_seconds)),
        warmup_input=env.get("WARMUP_INPUT", default.warmup_input),
    )


def _number(env: Mapping[str, str], name: str, default: int, least: int = 1) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise StartError(
            f"{name} is {text!r}, not a whole number of at least {least}; correct the model's environment."
        )
    return int(text)


def _overrides(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise StartError(f"BUNDLE_OVERRIDES is no JSON ({error}); write an object of config ids and values.") from error
    if not isinstance(found, dict):
        raise StartError(
            f"BUNDLE_OVERRIDES is {type(found).__name__}, not an object of config ids and values; mend it."
        )
    return found
