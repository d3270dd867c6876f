"""JSON from a file, which may nest without end or hold text that cannot be written again."""

import json
from typing import Any


def parsed(text: str | bytes) -> Any:  # noqa: ANN401
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON in UTF-8, is nested too deep, or holds half a surrogate pair,
            which JSON can escape and UTF-8 cannot hold.
    """
    try:
        value = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as err:
        raise ValueError("it is nested too deep") from err
    except UnicodeEncodeError as err:
        raise ValueError("it holds half a surrogate pair") from err
    return value
