"""The seven diagnoses of HAM10000, as data; their order is that of the network's output channels."""

from __future__ import annotations

from skin_lesions.errors import InputError

# The values of the column ``dx`` and what they stand for (Tschandl et al. 2018, 10.1038/sdata.2018.161, table 1 and
# its text). Alphabetical, as the published system took them from its folders.
PLAIN_NAMES = {
    "akiec": "actinic keratosis or intraepithelial carcinoma",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
CLASSES = tuple(PLAIN_NAMES)


def class_index(name: str, where: str) -> int:
    """Output channel of a class.

    Args:
        name: as in the column ``dx``.
        where: file and row, for the message.

    Raises:
        InputError: there is no such class.
    """
    if name not in PLAIN_NAMES:
        raise InputError(
            f"{where}: the class '{name}' is unknown, one of {', '.join(CLASSES)} is wanted; correct or remove the row."
        )
    return CLASSES.index(name)
