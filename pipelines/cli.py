"""The command line: `erasure demo | erase | mask | compare | export | verify`.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong input.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable

import typer

from erasure.errors import DiskError, ErasureError, TrainingError
from eval.errors import EvalError
from pipelines.commands import compare, demo, erase, export, mask, verify
from prompts.errors import PromptError

app = typer.Typer(
    name="erasure",
    help="Remove a concept from a Stable Diffusion checkpoint, and see that it is gone.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "erase": erase.erase,
    "mask": mask.mask,
    "compare": compare.compare,
    "export": export.export,
    "verify": verify.verify,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Run the command line; the console script."""
    _quiet_libraries()
    try:
        app()
    except (ErasureError, EvalError, PromptError) as err:
        print(f"erasure: {err}", file=sys.stderr)
        sys.exit(1 if isinstance(err, (TrainingError, DiskError)) else 2)
    except KeyboardInterrupt:
        print(
            "erasure: interrupted; what was finished is kept, and the same command with --resume "
            "goes on",
            file=sys.stderr,
        )
        sys.exit(1)


def _quiet_libraries() -> None:
    """Keep other people's notes out of a user's way; errors still come through."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    main()
