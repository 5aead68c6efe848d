"""The layout of HAM10000: ``HAM10000_metadata.csv`` and the images in one folder or several beside it.

Source: Tschandl et al. 2018, 10.1038/sdata.2018.161, and its release, 10.7910/DVN/DBW86T: one row an image, with
``lesion_id``, ``image_id`` and the diagnosis ``dx``; images in HAM10000_images_part_1 and _part_2, as JPEG.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from skin_lesions.classes import CLASSES, class_index
from skin_lesions.errors import InputError

METADATA = "HAM10000_metadata.csv"
COLUMNS = ("lesion_id", "image_id", "dx")
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Image:
    """One image of a lesion.

    Attributes:
        name: its id, the file's name without suffix.
        file: relative to the data set's folder, with /.
        lesion: id of the lesion that it shows; several images may show one.
        label: index of its class in ``CLASSES``.
    """

    name: str
    file: str
    lesion: str
    label: int


def read_images(dataset_dir: Path) -> list[Image]:
    """All images that the metadata list, in their order there.

    Raises:
        InputError: the metadata are absent or lack a column, a class is unknown, an image is listed twice or has no
            file, or a lesion has two classes.
    """
    table = dataset_dir / METADATA
    files = find_pictures(dataset_dir)
    images: dict[str, Image] = {}
    diagnoses: dict[str, int] = {}
    for number, row in enumerate(_rows(table), start=2):
        where = f"{table}, line {number}"
        name, lesion = row["image_id"], row["lesion_id"]
        label = class_index(row["dx"], where)
        if name in images:
            raise InputError(f"{where}: the image '{name}' is listed a second time; remove one of its rows.")
        if name not in files:
            raise InputError(
                f"{where}: there is no picture of the image '{name}' below {dataset_dir}, {name}.jpg is wanted; add "
                "the file or remove the row."
            )
        if diagnoses.setdefault(lesion, label) != label:
            raise InputError(
                f"{where}: the lesion '{lesion}' is '{CLASSES[label]}' here and '{CLASSES[diagnoses[lesion]]}' in an "
                "earlier row, one class is wanted; correct the rows."
            )
        images[name] = Image(name, files[name].relative_to(dataset_dir).as_posix(), lesion, label)
    if not images:
        raise InputError(
            f"{table}: lists no image, one row an image is wanted; add rows or point dataset_dir elsewhere."
        )
    return list(images.values())


def find_pictures(folder: Path) -> dict[str, Path]:
    """Pictures in a folder and in the folders in it, by name without suffix, sorted.

    Raises:
        InputError: there is no such folder, or two pictures have one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; set dataset_dir to a folder of pictures.")
    found: dict[str, Path] = {}
    for file in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        if file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue
        if file.stem in found:
            raise InputError(f"{file}: has the name of {found[file.stem]}, one picture a name is wanted; remove one.")
        found[file.stem] = file
    return found


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            rows = list(reader)
            columns = reader.fieldnames or ()
    except OSError as error:
        raise InputError(
            f"{table}: cannot be read ({error.strerror}); set dataset_dir to the folder that holds {METADATA}, or to "
            "the word synthetic."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: is no CSV table ({error}); restore the file.") from error
    if absent := [column for column in COLUMNS if column not in columns]:
        raise InputError(
            f"{table}: has no column '{absent[0]}' but {', '.join(map(repr, columns)) or 'none'}; "
            f"{', '.join(COLUMNS)} are wanted: add it."
        )
    for number, row in enumerate(rows, start=2):
        if empty := [column for column in COLUMNS if not row[column]]:
            raise InputError(
                f"{table}, line {number}: no value in the column '{empty[0]}'; complete or remove the row."
            )
    return rows
