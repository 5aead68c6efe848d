"""Which backend is chosen, and the sentences where one that is asked for cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from scripts.backends import choose
from scripts.errors import InputError
from scripts.launchers import Launch

MPIRUN = Launch("mpirun", 0, 0, 2, 2, "127.0.0.1", 15000)
TORCHRUN = Launch("torchrun", 0, 0, 2, 2, "127.0.0.1", 15000)
P4D = {"SM_CURRENT_INSTANCE_TYPE": "ml.p4d.24xlarge"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a module of SMDDP's name on the path, with the given source."""
    folder = tmp_path / "smdistributed" / "dataparallel" / "torch"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield (folder / "torch_smddp.py").write_text
    for name in [name for name in sys.modules if name.startswith("smdistributed")]:
        del sys.modules[name]


def test_without_smddp_it_is_nccl_or_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto", TORCHRUN, {})[0] == ("nccl" if torch.cuda.is_available() else "gloo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for nccl, chosen in ((True, ("nccl", "there are GPUs")), (False, ("gloo", "this PyTorch has no nccl"))):
        monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda nccl=nccl: nccl)
        assert choose("auto", TORCHRUN, {}) == chosen
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose("auto", TORCHRUN, {}) == ("gloo", "there is no GPU")
    assert choose("gloo", TORCHRUN, {}) == ("gloo", "asked for")


def test_smddp_where_it_can_be_imported_on_its_machines_by_mpirun(install) -> None:
    install("")
    assert choose("auto", MPIRUN, P4D) == ("smddp", "instance type ml.p4d.24xlarge, started by mpirun")
    training_env = {"SM_TRAINING_ENV": json.dumps({"current_instance_type": "ml.p4de.24xlarge"})}
    assert choose("auto", MPIRUN, training_env)[0] == "smddp"
    assert "needs mpirun, this is torchrun" in choose("auto", TORCHRUN, P4D)[1]
    other = choose("auto", MPIRUN, {"SM_CURRENT_INSTANCE_TYPE": "ml.g5.12xlarge"})
    assert other[0] != "smddp" and "is for ml.p4d.24xlarge and ml.p4de.24xlarge, this is ml.g5.12xlarge" in other[1]
    assert choose("smddp", MPIRUN, {}) == ("smddp", "asked for")
    with pytest.raises(InputError, match="smddp needs mpirun, but torchrun started this"):
        choose("smddp", TORCHRUN, P4D)


def test_an_import_that_refuses_the_machine_falls_back_and_says_why(install) -> None:
    install("raise RuntimeError('instance type not supported')")
    name, reason = choose("auto", MPIRUN, P4D)
    assert name != "smddp" and "(RuntimeError: instance type not supported)" in reason
    with pytest.raises(InputError, match="smddp cannot be used: .*RuntimeError: instance type not supported"):
        choose("smddp", MPIRUN, P4D)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_backend_that_is_missing_is_one_sentence() -> None:
    with pytest.raises(InputError, match="smddp cannot be used: .*ModuleNotFoundError"):
        choose("smddp", MPIRUN, {})
    with pytest.raises(InputError, match="nccl needs a GPU, but PyTorch finds none; choose gloo or auto"):
        choose("nccl", TORCHRUN, {})
    with pytest.raises(InputError, match="backend 'mpi' is unknown; choose one of none, auto, smddp, nccl, gloo"):
        choose("mpi", TORCHRUN, {})
