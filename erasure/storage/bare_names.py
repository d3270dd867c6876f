"""Names that come from a file and become places on the disk: only bare ones are taken.

A name from a file is hostile until it is checked: an absolute one, or one with `..` in it, would
write where it likes.
"""

from typing import Final

from erasure.errors import CheckpointError

_SEPARATORS: Final = "/\\:"
"""Those of every system, since a folder may be written on one and read on another; `:` is a drive
or a stream of Windows."""
_LONGEST: Final = 255
"""Bytes of a name that file systems take; of a longer one Python's questions fail."""
_SHOWN: Final = 80
"""Characters of a name that a message repeats."""


def is_bare(name: object) -> bool:
    """Whether a value is text that can name an entry of a folder and nothing outside it."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and len(name.encode(errors="surrogatepass")) <= _LONGEST
        and not any(letter in _SEPARATORS or ord(letter) < ord(" ") for letter in name)
        and not any("\ud800" <= letter <= "\udfff" for letter in name)  # bytes that are no text
    )


def bare(name: str) -> str:
    """A bare name of something that may be called anything, such as a class of a model."""
    made = "".join(one if is_bare(one) or one == "." else "_" for one in name)
    return made if is_bare(made) else f"_{made}"


def require_bare(name: object, where: str) -> str:
    """The name itself.

    Args:
        name: what a file gives as a name.
        where: the file or the entry it stands in, for the message.

    Raises:
        CheckpointError: it is not text in UTF-8, is empty, `.` or `..`, is longer than a file's, or
            holds a separator of any system or a control character.
    """
    if not is_bare(name):
        raise CheckpointError(
            f"{where} names {shown(name)}, which is not a bare name: a name without a folder is "
            "wanted, and nothing of it is used; fetch the model again from a source you trust"
        )
    assert isinstance(name, str), "a bare name is text"
    return name


def require_inside(place: str, where: str) -> str:
    """The same for a place within a folder: bare names with `/` between them.

    Raises:
        CheckpointError: one of its parts is not a bare name.
    """
    for name in place.split("/"):
        require_bare(name, where)
    return place


def shown(value: object) -> str:
    """A value from a file as a message shows it: escaped, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
