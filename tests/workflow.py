"""Running the bundle's configs on tiny data, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from scripts.errors import InputError, find_input_error

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"


class Job(ConfigWorkflow):
    """A workflow whose objects a test can ask for; some of them look for their workflow on the call stack."""

    def content(self, name: str) -> Any:
        """The object of that id in the config."""
        return self.parser.get_parsed_content(name)


def workflow(tmp_path: Path, *configs: str, kind: str = "train", **overrides: Any) -> Job:
    """A workflow whose every output lies under ``tmp_path``."""
    paths = {"output_dir": str(tmp_path / "runs"), "ckpt_dir": str(tmp_path / "models"), "bundle_root": str(BUNDLE)}
    if not any("inference" in config for config in configs):
        paths["run_name"] = "run"
    return Job(
        config_file=[str(BUNDLE / "configs" / config) for config in configs],
        logging_file=False,
        workflow_type=kind,
        **(paths | overrides),
    )


def run(tmp_path: Path, *configs: str, **overrides: Any) -> Job:
    """Initialise, run and finalise one."""
    job = workflow(tmp_path, *configs, **overrides)
    job.initialize()
    job.run()
    job.finalize()
    return job


def refused(tmp_path: Path, *configs: str, **overrides: Any) -> str:
    """The sentence with which a workflow refuses."""
    with pytest.raises((RuntimeError, InputError)) as caught:
        run(tmp_path, *configs, **overrides)
    cause = find_input_error(caught.value)
    assert cause is not None, caught.value
    return str(cause)
