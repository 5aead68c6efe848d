"""What a client is told, and what stops the server: sentences, never a traceback."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is not answered with a prediction.

    Args:
        status: HTTP status.
        sentence: all that the client is told; it names no file and quotes nothing of the request's content.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


# What PyTorch says when a processor's memory is short, and a GPU's.
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


class StartError(Exception):
    """The server cannot start; the message is one sentence."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was short, however deeply MONAI wrapped the error that said so."""
    while error is not None:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False
