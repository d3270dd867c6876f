"""`audit.json`, read again."""

from pathlib import Path

from pipelines.audit.outcome.results import FILE_NAME, FORMAT, Audit
from pipelines.result_file import read_result_file


def read_audit(folder: Path) -> Audit:
    """Read what `write_audit` wrote.

    Raises:
        EvalError: it is not there, damaged, or of another format.
    """
    audit: Audit = read_result_file(
        Audit,
        folder / FILE_NAME,
        (FORMAT,),
        name="audit",
        command="erasure audit --out",
        again="audit again into that folder, finished attacks are kept",
    )
    return audit
