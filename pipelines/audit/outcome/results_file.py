"""`audit.json`, read again."""

import json
from pathlib import Path

from erasure.storage.regular_files import require_regular
from erasure.storage.tables import read_record
from eval.errors import EvalError
from pipelines.audit.outcome.results import FILE_NAME, FORMAT, Audit


def read_audit(folder: Path) -> Audit:
    """Read what `write_audit` wrote.

    Raises:
        EvalError: it is not there, damaged, or of another format.
    """
    file = folder / FILE_NAME
    require_regular(file, EvalError)
    again = "audit again into that folder, finished attacks are kept"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise EvalError(
            f"there is no {file}; give the folder that `erasure audit --out` wrote"
        ) from err
    except OSError as err:
        raise EvalError(f"{file} cannot be read ({err.strerror}); check its permissions") from err
    except (ValueError, RecursionError) as err:
        raise EvalError(f"{file} is damaged: it is not JSON ({err}); {again}") from err
    format_name = values.get("format") if isinstance(values, dict) else None
    if format_name != FORMAT:
        raise EvalError(
            f"{file} has format {format_name!r:.60}, not {FORMAT!r}; read it with the version of "
            "diffusion-erasure that wrote it"
        )
    try:
        audit: Audit = read_record(Audit, values, "audit", EvalError)
    except EvalError as err:
        raise EvalError(f"{file} is damaged: {err}; {again}") from err
    return audit
