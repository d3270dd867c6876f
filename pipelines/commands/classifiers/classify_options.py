"""Options that the classifier commands share."""

from typing import Annotated

import typer

DataPath = Annotated[
    str | None,
    typer.Option("--data-path", help="Where the data lie, if not where they usually do."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the method, such as lr=0.01; may be repeated."),
]

AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Import the module:function that the file names.")
]
