"""Bring the real patients: Task01 (brain tumour) of the Medical Segmentation Decathlon, from its open bucket.

    python -m scripts.download --output DIR

makes ``DIR/Task01_BrainTumour``, which is then the ``dataset_dir``. The same command goes on with an interrupted
download.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.archives import extract_tar
from scripts.errors import InputError, one_sentence
from scripts.files import read_json, unwritable
from scripts.transfer import CHUNK_BYTES, fetch

FOLDER = "Task01_BrainTumour"
# Address and MD5 are those of monai.apps.DecathlonDataset (MONAI 1.6.1).
URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task01_BrainTumour.tar"
MD5 = "240a19d752f0d9e9101544901065d872"
# Labelled and unlabelled cases that dataset.json of release 2.0 lists.
N_TRAINING, N_TEST = 484, 266
LICENCE = """\
Medical Segmentation Decathlon, Task01 BrainTumour: 750 patients with glioma, from BraTS 2016 and 2017.
Licence: Creative Commons Attribution-ShareAlike 4.0 (CC-BY-SA 4.0), https://creativecommons.org/licenses/by-sa/4.0/
  You may use, share and adapt the data, also commercially, if you name its authors, say what you changed, and pass on
  what you build on it under the same licence.
Name: Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13, 4128 (2022), and Simpson et al.,
  arXiv:1902.09063 (2019).
"""


def download(output: str | os.PathLike[str], url: str = URL, md5: str = MD5) -> Path:
    """Download and unpack the data set, each whole or absent; a data set that is there is left alone.

    Args:
        output: folder that gets the data set's folder.
        url: address of the tar file.
        md5: of the tar file. The number of cases is checked where it is the official one.

    Returns:
        The data set's folder.

    Raises:
        InputError: download, checksum, disk or archive is not as it should be.
    """
    folder = Path(output).expanduser() / FOLDER
    if folder.is_dir():
        return folder
    archive = folder.with_name(FOLDER + ".tar")
    if not (archive.is_file() and _md5(archive) == md5.lower()):
        fetch(url, archive, md5, space_factor=2)
    try:
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as aside:
            unpacked = Path(aside) / FOLDER
            extract_tar(archive, Path(aside), FOLDER)
            if md5.lower() == MD5:
                check_cases(unpacked)
            unpacked.replace(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    archive.unlink()
    return folder


def check_cases(folder: Path, n_training: int = N_TRAINING, n_test: int = N_TEST) -> None:
    """Hold an unpacked data set against the number of cases it should have, and against its own list of files.

    Raises:
        InputError: dataset.json lists another number of cases, or a file that is not there.
    """
    description = read_json(folder / "dataset.json", "description of the data set")
    training, test = description.get("training", []), description.get("test", [])
    if (len(training), len(test)) != (n_training, n_test):
        raise InputError(
            f"{folder / 'dataset.json'}: lists {len(training)} training and {len(test)} test cases where {n_training} "
            f"and {n_test} are wanted; download the archive again."
        )
    for file in [*test, *(case[key] for case in training for key in ("image", "label"))]:
        if not (folder / file).is_file():
            raise InputError(f"{folder / file}: is listed in dataset.json and absent; download the archive again.")


def agree(yes: bool) -> None:
    """Show the licence and ask for agreement.

    Raises:
        InputError: the user does not agree, or there is no terminal to ask on.
    """
    print(LICENCE)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for your agreement to the licence; give --yes to agree.")
    print("Do you agree? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("without agreement to the licence nothing is downloaded; answer y, or give --yes, to agree.")


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.download", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", required=True, help="folder that gets Task01_BrainTumour/")
    parser.add_argument("--url", default=URL, help="another address of the same tar file (default: %(default)s)")
    parser.add_argument("--md5", default=MD5, help="MD5 of the file at --url (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="agree to the licence without being asked")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def command() -> int:
        agree(options.yes)
        print(f"ready: {download(options.output, options.url, options.md5)}")
        return 0

    return one_sentence(command)


if __name__ == "__main__":
    sys.exit(main())
