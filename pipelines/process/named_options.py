"""A refused setting of a recipe, by the option that gave it: who typed `--steps 5` reads that."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from erasure.errors import ConfigError
from pipelines.configs.everyday import Options, flags
from pipelines.configs.unread import value_at


@contextmanager
def named_options(options: Options, tables: Mapping[str, Any]) -> Iterator[None]:
    """Name options, and no keys of a recipe, where the block refuses what they gave.

    Args:
        options: those of the command.
        tables: what they gave, as tables of a recipe.

    Raises:
        ConfigError: the block did, in the words of the command line.
    """
    try:
        yield
    except ConfigError as err:
        typed = flags(options)
        named = {k: flag for k, flag in typed.items() if value_at(tables, k) is not None}
        named.pop("model", None)  # an argument
        said = _in_options(err.typed, named)
        if said == err.typed:
            raise
        raise ConfigError(said) from err


def _in_options(text: str, named: Mapping[str, str]) -> str:
    """The sentence with the flag for the key that it begins with, behind the method's name or not.

    `in [method]: steps is 0; give 1 or more` -> `--steps is 0; give 1 or more`.
    """
    for key, flag in named.items():
        table, _, leaf = key.rpartition(".")
        begins = rf"(?:([\w-]+): )?(?:{re.escape(key)}|in \[{re.escape(table)}\]: {leaf})(?= )"
        if match := re.match(begins, text):
            rest = text[match.end() :]
            if rest.startswith(" is unknown;") and match[1]:
                return (
                    f"{flag} is no setting of the method {match[1]}; leave it out, or see "
                    "`erasure methods NAME` for what a method has"
                )
            return f"{match[1]}: {flag}{rest}" if match[1] else f"{flag}{rest}"
    return text
