"""What a file that others get may say of a path on this machine: its last part, no more.

A path tells of users, customers and projects, and it makes two runs differ that did the same. Ids
on the hub (`owner/name`) are names, not paths, and stay whole.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

_LOCAL: Final = re.compile(r"file:|[/~\\]|[A-Za-z]:[\\/]|\.{1,2}(?:[\\/]|$)", re.IGNORECASE)
"""How a path begins that can be nothing else: from the root or a drive, a share, the home folder,
the folder one is in, or as a URL."""
_NAMED: Final = re.compile(r"(text_encoder(?:_[0-9])?)=(.*)", re.DOTALL)
"""A component, and the file that it is in."""
_ENTRY: Final = re.compile(r'^([\w-]+) = ("(?:[^"\\\n]|\\.)*")$', re.MULTILINE)
"""A key and its text, on a line of TOML of their own."""
_WORDS: Final = frozenset({"concept", "instead", "prompt", "erased", "title", "objective"})
"""Keys whose texts are words of a person."""
_NAMING: Final = ("name_or_path", "_file", "_path", "_dir")
"""How keys end under which libraries note where a part was loaded from."""


def typed_path(text: str | Path) -> Path:
    """A path as a person typed it: `~` is the home folder, also where no shell has made it that,
    as in `--out=~/run` and in a recipe."""
    return Path(os.path.expanduser(text))


def named_path(text: str) -> tuple[str | None, str]:
    """`text_encoder_2=FILE` -> the component and the path; any other text is a path without one."""
    match = _NAMED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def is_local(text: str) -> bool:
    """Whether a text is a path on this machine: by its form, or because it has folders and is
    there. `owner/name` is one only where it is there."""
    if "\n" in text or "\0" in text:
        return False
    if _LOCAL.match(text):
        return True
    return ("/" in text or "\\" in text) and os.path.exists(text)


def last_part(text: str) -> str:
    """The name of what a path leads to; `.` where that would be a root, a drive or a home.

    Both kinds of separators count, whatever system this is: a path may come from another.
    """
    if text.lower().startswith("file:"):
        text = unquote(text[len("file:") :])
    parts = [part for part in re.split(r"[/\\]+", text) if part not in ("", ".")]
    last = parts[-1] if parts else "."
    bare = len(parts) == 1 and (last.startswith("~") or re.fullmatch(r"[A-Za-z]:", last))
    return "." if bare or last == ".." else last


def shown_path(text: str) -> str:
    """A path by its last part, also behind a component; any other text as it is."""
    component, path = named_path(text)
    if component is not None:
        return f"{component}={shown_path(path)}"
    return last_part(text) if is_local(text) else text


def without_folders(value: Any) -> Any:  # noqa: ANN401
    """A plain JSON value whose texts, at any depth, are `shown_path`s.

    What a person wrote in words stays: concepts and prompts. Text of several lines is taken for
    TOML, as the recipe in a record is.
    """
    if isinstance(value, Mapping):
        return {
            key: item if _in_words(key, item) else without_folders(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_folders(item) for item in value]
    if isinstance(value, str):
        return _ENTRY.sub(_shown_entry, value) if "\n" in value else shown_path(value)
    return value


def without_origin(config: Any) -> Any:  # noqa: ANN401
    """A config of diffusers or transformers that no longer says in which folder its part lay."""
    if isinstance(config, Mapping):
        return {
            key: shown_path(item)
            if isinstance(item, str) and key.endswith(_NAMING)
            else without_origin(item)
            for key, item in config.items()
        }
    return [without_origin(item) for item in config] if isinstance(config, list) else config


def json_without_origin(content: bytes) -> bytes:
    """The same of a JSON file; the very bytes where it names no folder, or is no JSON."""
    if not any(name.encode() in content for name in _NAMING):
        return content
    try:
        config = json.loads(content)
        clean = without_origin(config)
        if clean == config:
            return content
        text = json.dumps(clean, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return content
    return f"{text}\n".encode(errors="backslashreplace")  # half a surrogate pair, as JSON has it


def _in_words(key: object, item: object) -> bool:
    listed = isinstance(item, (list, tuple))
    return key in _WORDS or (listed and isinstance(key, str) and key.endswith("prompts"))


def _shown_entry(match: re.Match[str]) -> str:
    key, quoted = match.groups()
    try:
        text = json.loads(quoted)
    except ValueError:  # an escape that only TOML has
        return match[0]
    if key in _WORDS or not is_local(text):
        return match[0]
    return f"{key} = {json.dumps(last_part(text), ensure_ascii=False)}"
