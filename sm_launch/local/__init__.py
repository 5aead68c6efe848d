"""The jobs of a plan on this machine, without AWS or docker: the same requests, the same entry, real processes.

Each instance of a job is a mount and process namespace with a true /opt/ml (see ``nodes.py``); nothing is made outside
``work_dir``. Where the machine has no namespaces, jobs run in a SAGEMAKER_BASE_DIR tree.
"""

from __future__ import annotations

from sm_launch.events import Event
from sm_launch.local.processing import run_processing
from sm_launch.local.results import JobResult, Metric, Transition, Trial, TuningResult
from sm_launch.local.serving import Server, start_server
from sm_launch.local.store import FolderStore, S3Store, Store
from sm_launch.local.training import run_training
from sm_launch.local.tuning import run_tuning

__all__ = [
    "Event",
    "FolderStore",
    "JobResult",
    "Metric",
    "S3Store",
    "Server",
    "Store",
    "Transition",
    "Trial",
    "TuningResult",
    "run_processing",
    "run_training",
    "run_tuning",
    "start_server",
]
