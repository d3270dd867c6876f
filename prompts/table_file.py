"""A TOML or YAML file as plain values, whoever wrote it."""

import tomllib
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from prompts.errors import PromptError
from prompts.regular_files import readable

_MOST_BYTES: Final = 2**20
_MOST_BITS: Final = 10_000
"""Length of a whole number; Python says none of more than 4,300 digits."""
_UNREADABLE: Final = (
    yaml.YAMLError,
    ValueError,
    RecursionError,
    *(IndexError, AttributeError, TypeError, KeyError),  # PyYAML, of tags with a wrong value
)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """A loader of plain values without aliases, by which a short text may unfold without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        """As the library does it, but for an alias."""
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise yaml.YAMLError(f"line {line} repeats a value by an alias; write it out there")
        return super().compose_node(parent, index)


def load_table(path: Path) -> Any:  # noqa: ANN401
    """What a `.toml`, `.yaml` or `.yml` file holds: plain values, each short enough to repeat.

    Raises:
        PromptError: the file is of another kind, cannot be read, or is larger than a mebibyte.
    """
    if path.suffix.lower() not in (".toml", ".yaml", ".yml"):
        raise PromptError(f"the prompt rows are {path}; give a .toml, .yaml or .yml file")
    with readable(path):
        if path.stat().st_size > _MOST_BYTES:
            raise PromptError(f"{path} has more than {_MOST_BYTES:,} bytes; shorten it")
        text = path.read_text(encoding="utf-8-sig")
    kind = "TOML" if path.suffix.lower() == ".toml" else "YAML"
    try:
        data = tomllib.loads(text) if kind == "TOML" else yaml.load(text, _Loader)
        _require_sayable(data)
        return data
    except _UNREADABLE as err:
        reason = " ".join(str(err).split())[:160]
        raise PromptError(f"{path} is not {kind} ({reason}); correct it") from err


def _require_sayable(value: object) -> None:
    """Raise ValueError where a message could not repeat a value, or no file have it as a name."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError(f"it has a whole number of more than {_MOST_BITS:,} bits")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("it has a text with the character of number 0")
    items = value.items() if isinstance(value, dict) else ()
    inner = [part for pair in items for part in pair]
    for item in value if isinstance(value, list | tuple | set) else inner:
        _require_sayable(item)
