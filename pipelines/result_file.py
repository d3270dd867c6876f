"""Read a file of results that a command of this program wrote."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from erasure.storage.regular_files import require_regular
from erasure.storage.tables import read_record
from eval.errors import EvalError


def read_result_file(
    kind: type[object], file: Path, formats: Sequence[str], *, name: str, command: str, again: str
) -> Any:  # noqa: ANN401
    """The value that `to_table` wrote of a dataclass.

    Args:
        kind: the dataclass.
        formats: those that can be read, the newest first.
        name: what a message calls the whole of it.
        command: what writes such files, as it is typed.
        again: how to make the file again, as a message ends.

    Raises:
        EvalError: it is not there, damaged, or of another format.
    """
    require_regular(file, EvalError)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as err:
        raise EvalError(f"there is no {file}; give the folder that `{command}` wrote") from err
    except OSError as err:
        raise EvalError(f"{file} cannot be read ({err.strerror}); check its permissions") from err
    except (ValueError, RecursionError) as err:  # not UTF-8, not JSON, nested a thousand deep
        raise EvalError(f"{file} is damaged: it is not JSON ({err}); {again}") from err
    format_name = values.get("format") if isinstance(values, dict) else None
    if format_name not in formats:
        raise EvalError(
            f"{file} has format {format_name!r:.60}, not {formats[0]!r}; read it with the version "
            "of diffusion-erasure that wrote it"
        )
    try:
        return read_record(kind, values, name, EvalError)
    except EvalError as err:
        raise EvalError(f"{file} is damaged: {err}; {again}") from err
