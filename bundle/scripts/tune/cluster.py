"""The search on Ray Tune: where trials run, how many at a time, and which ASHA stops.

Ray decides about resources and early stopping only. What a trial is, and how it came out, lies in its folder; Ray's own
record of the experiment is thrown away, for it may be seconds old when a driver is killed.

This module imports Ray; :func:`scripts.tune.search.require_ray` says what to install where it is absent.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read by Ray when it is imported: no usage statistics sent, none of its tables and files beside ours, and Ctrl-C ends
# the search at once, to be taken up again.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
os.environ.update(QUIET)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler  # noqa: E402

from scripts.errors import InputError, first_line  # noqa: E402
from scripts.tune.space import Search  # noqa: E402
from scripts.tune.trial import STATE_FILE, STOPPED, Plan, Trial, write_state  # noqa: E402

# Trials exchange a few numbers with Ray; its default takes a third of the machine's memory.
OBJECT_STORE_BYTES = 80 * 2**20
TIME_ATTRIBUTE = "epoch"


class BundleTrial(tune.Trainable):
    """Ray's view of a trial: every step is a validated epoch. One actor runs one trial after the other."""

    def setup(self, config: dict[str, Any], plans: Sequence[Plan]) -> None:
        """Start the processes of the trial that ``config`` tells the number of."""
        self.trial = Trial(plans[config["trial"]])
        self.epochs = self.trial.results()

    def step(self) -> dict[str, Any]:
        """Wait for the next validated epoch."""
        return next(self.epochs)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on to another trial."""
        self.trial.stop()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """End the trial's processes."""
        self.trial.stop()


class Notes(tune.Callback):
    """Notes which trials the scheduler stopped, and tells of every trial's progress.

    Args:
        plans: the trials.
        tell: called with a plan and the latest result of its trial, None at the end.
    """

    def __init__(self, plans: Sequence[Plan], tell: Callable[[Plan, Mapping[str, Any] | None], None]) -> None:
        self.plans = plans
        self.tell = tell

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A validated epoch."""
        self.tell(self.plans[trial.config["trial"]], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Finished, or stopped by the scheduler."""
        plan = self.plans[trial.config["trial"]]
        if not (Path(plan.folder) / STATE_FILE).is_file():
            write_state(Path(plan.folder), STOPPED, trial.last_result["trial_s"])
        self.tell(plan, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Failed, which its folder tells, or lost with its machine, and then to be taken up again."""
        self.tell(self.plans[trial.config["trial"]], None)


@contextmanager
def cluster(address: str | None, cpus: int | None, bundle_root: Path) -> Iterator[None]:
    """Ray of our own on this machine for the time of the block, or an existing cluster.

    Args:
        address: ``host:port`` of a cluster's head, or ``auto``; None starts Ray here.
        cpus: that Ray may use here; None is all of them.
        bundle_root: the bundle, from which Ray's workers import; seen under this path by every machine.

    Raises:
        InputError: Ray does not start here, or there is no cluster at ``address`` that takes us in.
    """
    paths = [str(bundle_root), *filter(None, [os.environ.get("PYTHONPATH")])]
    options: dict[str, Any] = {
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(paths)}}, "log_to_driver": False,
        "logging_level": logging.CRITICAL, "configure_logging": True,
    }  # fmt: skip
    scratch = None
    if address is None:
        # Ray's sockets lie in there, and the name of a socket has at most about 100 characters.
        scratch = None if sys.platform == "win32" else tempfile.mkdtemp(prefix="ray", dir="/tmp")
        options |= {
            "num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": scratch,
        }  # fmt: skip
    try:
        connect(address, options)
        yield
    finally:
        ray.shutdown()
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def connect(address: str | None, options: Mapping[str, Any]) -> None:
    """``ray.init``, whose failures are one sentence.

    Raises:
        InputError: Ray does not start here, or there is no cluster at ``address`` that takes us in.
    """
    try:
        ray.init(address=address or "local", **options)
    # Ray raises the bare class when its own processes are not up within 30 s.
    except Exception as error:
        reason = first_line(error).rstrip(".")
        if address is None:
            raise InputError(f"Ray did not start ({reason}); free some memory or processors and try again.") from error
        raise InputError(
            f"--address {address}: cannot connect ({reason}); check that its head is up, and set RAY_AUTH_MODE=token "
            "if it asks for a token."
        ) from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def check_resources(workers: int, cpus: float, gpus: float | None) -> float:
    """GPUs a worker gets, and a check that some machine of the cluster can hold a trial.

    Args:
        workers: of a trial; they share a machine.
        cpus: of a worker.
        gpus: of a worker; None is one where the cluster has any.

    Raises:
        InputError: no machine can, or several workers would share a GPU.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = {kind: max((machine.get(kind, 0) for machine in machines), default=0) for kind in ("CPU", "GPU")}
    if gpus is None:
        gpus = 1 if most["GPU"] else 0
    if workers > 1 and gpus != int(gpus):
        raise InputError(f"--gpus_per_worker {gpus}: workers of one trial cannot share a GPU; give a whole number.")
    for kind, each in (("CPU", cpus), ("GPU", gpus)):
        if workers * each > most[kind]:
            raise InputError(
                f"a trial wants {workers} x {each:g} {kind} on one machine, and the largest of this Ray has "
                f"{most[kind]:g}; lower --workers_per_trial or --{kind.lower()}s_per_worker."
            )
    return gpus


def run(
    search: Search,
    plans: Sequence[Plan],
    out: Path,
    max_concurrent: int | None,
    tell: Callable[[Plan, Mapping[str, Any] | None], None],
) -> None:
    """Run every plan; returns when each has ended. A trial that fails ends only itself.

    Args:
        search: for its scheduler, metric and mode.
        plans: the trials. One that has ended already only tells its results again, so that ASHA knows them.
        out: the search's folder.
        max_concurrent: trials at a time; None is as many as the resources hold.
        tell: see :class:`Notes`.
    """
    workers, cpus, gpus = plans[0].workers, plans[0].cpus, plans[0].gpus
    # One bundle is one machine: the workers of a trial meet on loopback, and the actor sees the GPUs of all of them.
    bundle = {"CPU": workers * cpus} | ({"GPU": workers * gpus} if gpus else {})
    scratch = out / "ray"
    try:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(BundleTrial, plans=list(plans)), tune.PlacementGroupFactory([bundle])
            ),
            param_space={"trial": tune.grid_search(list(range(len(plans))))},
            tune_config=tune.TuneConfig(
                metric=search.metric,
                mode=search.mode,
                scheduler=scheduler(search),
                max_concurrent_trials=max_concurrent,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=time.strftime("%Y-%m-%d_%H-%M-%S"),
                storage_path=str(scratch),
                callbacks=[Notes(plans, tell)],
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def scheduler(search: Search) -> TrialScheduler:
    """ASHA by epochs, or first come, first served."""
    if search.scheduler is None:
        return FIFOScheduler()
    # Trials that end before the grace period does are never stopped, which Ray refuses to be told.
    settings = search.scheduler | {"grace_period": min(search.scheduler.get("grace_period", 1), search.epochs)}
    return AsyncHyperBandScheduler(time_attr=TIME_ATTRIBUTE, max_t=search.epochs, **settings)


def _name(trial: Any) -> str:
    return f"trial_{trial.config['trial']:03d}"
