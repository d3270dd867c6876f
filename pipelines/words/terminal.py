"""Text from files as a terminal may show it: nothing in it moves the cursor or changes colours."""

import logging


def printable(text: str) -> str:
    """The text on one line, where each letter that is not to be seen is escaped.

    Names come from files, and an escape code in one could write over what a command has said, or
    set the title of the terminal.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class PrintableFormatter(logging.Formatter):
    """Messages of the log in such text; a traceback, which is of the program, keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(super().formatMessage(record))
