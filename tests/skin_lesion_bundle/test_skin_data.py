"""HAM10000's layout and the split by lesion, and what is refused of them, in one sentence."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from skin_lesions.classes import CLASSES, PLAIN_NAMES
from skin_lesions.errors import InputError
from skin_lesions.ham10000 import METADATA, Image, read_images
from skin_lesions.splits import PARTS, datalist, items, split
from tiny_ham10000 import write_tiny_ham10000

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "HAM10000"
RATIOS = (0.7, 0.15, 0.15)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_ham10000(tmp_path / "data", lesions=3, images=2)


def rows_of(data: Path) -> list[dict[str, str]]:
    with (data / METADATA).open(newline="") as lines:
        return list(csv.DictReader(lines))


def rewrite(data: Path, rows: list[dict[str, str]]) -> None:
    with (data / METADATA).open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def made_up(lesions: dict[str, int], images: int = 3) -> list[Image]:
    return [
        Image(f"{name}{lesion}-{view}", f"{name}{lesion}-{view}.jpg", f"{name}{lesion}", CLASSES.index(name))
        for name, count in lesions.items()
        for lesion in range(count)
        for view in range(images)
    ]


def test_classes_are_alphabetical_and_have_plain_names() -> None:
    assert CLASSES == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc") == tuple(sorted(PLAIN_NAMES))


def test_images_of_one_folder_or_two(data: Path) -> None:
    before = read_images(data)
    assert [image.label for image in before] == [label for label in range(7) for _ in range(6)]
    second = data / "HAM10000_images_part_2"
    second.mkdir()
    for image in before[::2]:
        (data / image.file).rename(second / Path(image.file).name)
    after = read_images(data)
    assert [image.name for image in after] == [image.name for image in before]
    assert after[0].file == f"HAM10000_images_part_2/{after[0].name}.jpg"
    assert all((data / image.file).is_file() for image in after)


def unknown_class(data: Path) -> None:
    rows = rows_of(data)
    rows[3]["dx"] = "wart"
    rewrite(data, rows)


def without_column(data: Path) -> None:
    rewrite(data, [{key: value for key, value in row.items() if key != "dx"} for row in rows_of(data)])


def without_picture(data: Path) -> None:
    next((data / "HAM10000_images_part_1").iterdir()).unlink()


def lesion_of_two_classes(data: Path) -> None:
    rows = rows_of(data)
    rows[-1]["lesion_id"] = rows[0]["lesion_id"]
    rewrite(data, rows)


def listed_twice(data: Path) -> None:
    rewrite(data, [*rows_of(data), rows_of(data)[0]])


def without_rows(data: Path) -> None:
    (data / METADATA).write_text("lesion_id,image_id,dx\n")


def without_table(data: Path) -> None:
    (data / METADATA).unlink()


def not_a_table(data: Path) -> None:
    (data / METADATA).write_bytes(b"\xff\xfe\x00\x81")


def cut_row(data: Path) -> None:
    with (data / METADATA).open("a") as lines:
        lines.write("HAM_1\n")


def two_of_a_name(data: Path) -> None:
    picture = next((data / "HAM10000_images_part_1").iterdir())
    (data / "other").mkdir()
    (data / "other" / picture.name).write_bytes(picture.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (unknown_class, ("line 5", "'wart'", "akiec, bcc, bkl", "correct or remove")),
        (without_column, ("no column 'dx'", "'lesion_id', 'image_id'", "add it")),
        (without_picture, ("no picture of the image 'ISIC_", ".jpg is wanted", "add the file or remove the row")),
        (lesion_of_two_classes, ("'HAM_0000'", "'vasc' here and 'akiec'", "correct the rows")),
        (listed_twice, ("line 44", "a second time", "remove one")),
        (without_rows, ("lists no image", "add rows")),
        (without_table, (METADATA, "No such file", "set dataset_dir")),
        (not_a_table, (METADATA, "is no CSV table", "restore")),
        (cut_row, ("line 44", "no value in the column", "complete or remove")),
        (two_of_a_name, ("has the name of", "remove one")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_data_is_refused_in_one_sentence(data: Path, spoil: Callable[[Path], None], words: tuple[str, ...]) -> None:
    spoil(data)
    with pytest.raises(InputError) as refusal:
        read_images(data)
    sentence = str(refusal.value)
    assert str(data) in sentence and "\n" not in sentence and sentence.endswith(".")
    for word in words:
        assert word in sentence


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder; set dataset_dir"):
        read_images(tmp_path / "absent")


def test_no_lesion_is_on_two_sides_and_every_class_is_on_each() -> None:
    images = made_up({"akiec": 40, "bcc": 20, "bkl": 20, "df": 3, "mel": 20, "nv": 100, "vasc": 7})
    parts = split(images, RATIOS, 42)
    lesions = {part: {image.lesion for image in parts[part]} for part in PARTS}
    assert sum(map(len, parts.values())) == len(images)
    assert len(set.union(*lesions.values())) == sum(map(len, lesions.values())) == 210
    for name, expected in {"akiec": (28, 6, 6), "nv": (70, 15, 15), "df": (1, 1, 1), "vasc": (5, 1, 1)}.items():
        found = tuple(sum(lesion.startswith(name) for lesion in lesions[part]) for part in PARTS)
        assert found == expected, name


def test_the_split_depends_on_seed_and_ids_alone() -> None:
    images = made_up(dict.fromkeys(CLASSES, 20), images=1)
    first, again, other = split(images, RATIOS, 1), split(images[::-1], RATIOS, 1), split(images, RATIOS, 2)
    assert set(first["test"]) == set(again["test"]) != set(other["test"])


def test_too_few_lesions_of_a_class() -> None:
    images = made_up(dict.fromkeys(CLASSES, 5) | {"df": 2})
    with pytest.raises(InputError, match="class 'df' has 2 lesions, too few"):
        split(images, RATIOS, 42)


@pytest.mark.parametrize("ratios", [(0.7, 0.3), (0.8, 0.15, 0.15), (1.0, 0.0, 0.0), (0.9, 0.2, -0.1)])
def test_bad_ratios(ratios: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="split_ratios .* add up to 1"):
        split(made_up(dict.fromkeys(CLASSES, 5)), ratios, 42)


def test_a_datalist_is_taken_up_again(data: Path, tmp_path: Path) -> None:
    made = datalist(str(data), None, RATIOS, 3)
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(made))
    assert datalist(str(data), str(file), RATIOS, 4) == made
    found = items(made, "training")
    assert all(Path(item["image"]).is_file() for item in found)
    assert {key: type(value) for key, value in found[0].items()} == {
        "image": str, "label": int, "lesion": str, "name": str,
    }  # fmt: skip


def shared_lesion(content: dict[str, Any]) -> None:
    content["test"].append(content["training"][0])


def other_classes(content: dict[str, Any]) -> None:
    content["classes"] = content["classes"][::-1]


def unlabelled(content: dict[str, Any]) -> None:
    del content["test"][0]["label"]


def no_class_to_validate(content: dict[str, Any]) -> None:
    content["validation"] = [entry for entry in content["validation"] if entry["label"] != 3]


def no_class_to_train(content: dict[str, Any]) -> None:
    content["training"] = [entry for entry in content["training"] if entry["label"] != 6]


def label_of_an_eighth_class(content: dict[str, Any]) -> None:
    content["training"][0]["label"] = 7


def no_test_part(content: dict[str, Any]) -> None:
    del content["test"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shared_lesion, "is in training and in test, one part is wanted"),
        (other_classes, "its classes are"),
        (no_test_part, "is no datalist"),
        (unlabelled, "is no datalist"),
        (no_class_to_validate, "no image of the class 'df' is in validation, one of each class is wanted"),
        (no_class_to_train, "no image of the class 'vasc' is in training, one of each class is wanted"),
        (label_of_an_eighth_class, "the label 7 is in training, an index from 0 to 6 is wanted"),
    ],
)
def test_bad_datalists(data: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], None], words: str) -> None:
    content = datalist(str(data), None, RATIOS, 42)
    spoil(content)
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        datalist(str(data), str(file), RATIOS, 42)


def test_a_datalist_names_an_absolute_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "datalist.json"
    file.write_text(json.dumps(datalist(str(data), None, RATIOS, 42)))
    monkeypatch.chdir(data.parent)
    for given in (None, str(file)):
        assert datalist(data.name, given, RATIOS, 42)["dataset_dir"] == str(data.resolve())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real subset of HAM10000 is not here")
def test_the_real_subset() -> None:
    images = read_images(REAL)
    assert len(images) == 938
    parts = split(images, RATIOS, 42)
    assert {part: len(found) for part, found in parts.items()} == {"training": 656, "validation": 141, "test": 141}
