"""Lab 11's helpers: looking, deleting what is the labs' own, and the arithmetic of what bills on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from labkit import cleaning
from labkit.checks import NotYet
from labkit.costs import borrowed, priced_region
from scripts.errors import InputError

from sm_launch.manifest import GONE, Entry, Manifest


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A labs' folder: a lab's own file, and a link to a case outside."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "case.nii.gz").write_bytes(b"x" * 100)
    lab = tmp_path / "work" / "11"
    lab.mkdir(parents=True)
    (lab / "store.npy").write_bytes(b"y" * 10)
    (lab / "case.nii.gz").symlink_to(data / "case.nii.gz")
    (lab / "cases").symlink_to(data)
    return tmp_path / "work"


def test_links_are_counted_and_not_followed(work: Path) -> None:
    (found,) = cleaning.inventory(work)
    assert (found.path, found.files, found.links, found.size) == (work / "11", 1, 2, 10)
    assert found.row() == ["11", 1, 2, "0.0 MB"]
    assert cleaning.inventory(work / "absent") == []


def test_what_is_deleted_is_gone_and_what_was_linked_is_not(work: Path) -> None:
    assert cleaning.remove(work / "11", work).files == 1
    assert not (work / "11").exists()
    assert (work.parent / "data" / "case.nii.gz").stat().st_size == 100


@pytest.mark.parametrize("name", ["data", "work", "work/11/cases", "work/../data"])
def test_nothing_outside_the_folder_is_deleted(work: Path, name: str) -> None:
    # The class of the module that raises it: the bundle's scripts may be imported under two names.
    with pytest.raises(cleaning.InputError, match="does not lie in"):
        cleaning.remove(work.parent / name, work)
    assert (work.parent / "data" / "case.nii.gz").is_file()
    assert (work / "11" / "store.npy").is_file()


def test_runs_are_read_from_their_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_LAUNCH_HOME", str(tmp_path))
    assert cleaning.runs_on_record() == []
    entries = [Entry("endpoint", "r1-endpoint"), Entry("model", "r1-model", GONE)]
    Manifest("r1", "us-east-1", "bucket", "runs/r1", "standard", entries=entries, path=tmp_path / "r1.json").save()
    ((run, _, left),) = cleaning.runs_on_record()
    assert (run, left) == ("r1", "endpoint r1-endpoint")


def test_endpoints_go_before_their_models_and_jobs_are_stopped() -> None:
    order = {name: what for name, what, _ in cleaning.order_of_removal()}
    assert list(order).index("endpoint") < list(order).index("endpoint-config") < list(order).index("model")
    assert order["training-job"].startswith("stopped") and order["file-system"] == "deleted"


def test_a_day_of_each_leftover() -> None:
    days = {name: dollars for name, (_, dollars) in cleaning.leftovers().items()}
    assert days["endpoint"] == pytest.approx(24 * 1.408)
    assert days["file system"] == pytest.approx(2400 * 0.21 / 730 * 24)
    assert max(days, key=days.get) == "warm pool"


@pytest.mark.parametrize(
    ("may_train", "hint"),
    [
        (lambda status: ..., "no answer"),
        (lambda status: None, "returns nothing"),
        (lambda status: False, "for ever"),
        (lambda status: status != "CREATING", "FAILED"),
    ],
)
def test_wait_exercise_hints(may_train: Callable[[str], object], hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        cleaning.check_may_train(may_train)


def test_wait_exercise_takes_the_good_state(capsys: pytest.CaptureFixture[str]) -> None:
    cleaning.check_may_train(lambda status: status == "AVAILABLE")
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("month", "hint"), [(..., "no answer"), ("504", "number"), (0.21, "one GB"), (16.57, "Capacity")]
)
def test_month_exercise_hints(month: object, hint: str) -> None:
    with pytest.raises(NotYet, match=hint):
        cleaning.check_month(month)


def test_month_exercise_takes_capacity_times_price(capsys: pytest.CaptureFixture[str]) -> None:
    cleaning.check_month(2400 * cleaning.fsx_price())
    assert "$504" in capsys.readouterr().out
    with pytest.raises(InputError, match="eu-central-1: no price of FSx"):
        cleaning.check_month(504, "eu-central-1")


def test_a_region_without_prices_is_shown_those_of_the_default_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    priced = priced_region("eu-central-1")
    assert cleaning.leftovers(priced) == cleaning.leftovers()
    cleaning.check_month(2400 * cleaning.fsx_price(priced), priced)
    assert "$504" in capsys.readouterr().out
    assert "those of us-east-1: the table has none for eu-central-1" in borrowed("eu-central-1", priced)
    assert borrowed("us-west-2", priced_region("us-west-2", "ml.g5.xlarge")) == ""
    # Machines as old as that have a price in one region alone.
    assert priced_region("us-west-2", "ml.p3.2xlarge") == "us-east-1"
