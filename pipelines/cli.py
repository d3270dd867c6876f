"""The command line: `erasure demo | erase | mask | compare | evaluate | ...`.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong input.
"""

# torch takes seconds to import, so commands import what they need when they run, `--help` does not.

import errno
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Container, Mapping
from functools import wraps
from typing import Annotated, Any, Final

import typer

from pipelines.commands import (
    compare,
    demo,
    erase,
    export,
    mask,
    methods,
    patch,
    prompts,
    ui,
    verify,
)
from pipelines.commands.classifiers import classify
from pipelines.commands.experiments import bench, reproduce
from pipelines.commands.measuring import audit, distance, evaluate, judge
from pipelines.process.empty_values import EmptyValues
from pipelines.process.given_once import GivenOnce
from pipelines.process.grouped_help import GroupedHelp
from pipelines.process.named_places import with_places
from pipelines.run.claims import claiming
from pipelines.words.terminal import PrintableFormatter, printable

_WIDEST: Final = 120
"""Columns of a help page, where the terminal has as many."""
_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    # Name -> what it does, and an example.
    "demo": (demo.demo, "erasure demo --concept dog --out out/dog"),
    "erase": (erase.erase, "erasure erase demo --concept church --out out/church"),
    "methods": (methods.methods, "erasure methods esd"),
    "mask": (
        mask.mask,
        "erasure mask demo --concept church --density 0.5 --out church.safetensors",
    ),
    "compare": (
        compare.compare,
        'erasure compare demo out/church --prompt "an image of a church" \\\n'
        "      --seeds 0-4 --out grid.png",
    ),
    "export": (
        export.export,
        "erasure export out/church --to single-file --dtype fp16 --out sd.safetensors",
    ),
    "verify": (verify.verify, "erasure verify out/church"),
    "evaluate": (
        evaluate.evaluate,
        "erasure evaluate out/church --against demo --suite canvas --out out/eval",
    ),
    "audit": (
        audit.audit,
        "erasure audit out/church --concept church --against demo --out out/audit",
    ),
    "distance": (
        distance.distance,
        "erasure distance out/church --concept church --base demo \\\n"
        "      --retrained build/gold/no-church/model \\\n"
        "      --twin build/gold/no-church-2/model --out out/distance",
    ),
    "bench": (bench.bench, "erasure bench demo --only esd,uce --concepts church --out out/bench"),
    "reproduce": (
        reproduce.reproduce,
        "erasure reproduce salun-imagenette --model demo --limit 12 --out out/salun",
    ),
    "judge": (judge.judge, "erasure judge pictures/ --with nudenet --json"),
    "prompts": (prompts.prompts, "erasure prompts imagenette --limit 3"),
    "ui": (ui.ui, "erasure ui --runs out --models ~/models"),
}
_GROUPS: dict[str, tuple[str, dict[str, tuple[Callable[..., None], str]]]] = {
    # Name -> what its commands are about, and the commands as above.
    "classify": ("Train classifiers and let them forget.", classify.COMMANDS),
    "patch": (
        "The edit as a small, reversible file.",
        {
            "apply": (patch.apply, "erasure patch apply demo church.patch --out out/no-church"),
            "remove": (patch.remove, "erasure patch remove out/no-church church.patch --out base"),
            "stack": (
                patch.stack,
                "erasure patch stack demo church.patch dog.patch --out both.patch",
            ),
        },
    ),
}
_GOES_ON: Final = (
    *(audit.audit, bench.bench, evaluate.evaluate, reproduce.reproduce),
    classify.COMMANDS["bench"][0],
)
"""Commands that keep what is finished, without an option for it."""


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # takes a tenth of the start, for this alone

        typer.echo(f"erasure {version('diffusion-erasure')}")
        raise typer.Exit


def _erasure(
    asked: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Remove a concept from a Stable Diffusion checkpoint, and measure what is left of it."""


def main() -> None:
    """Run the command line; the console script."""
    _quiet_libraries()
    for argument in sys.argv[1:]:
        if not _is_text(argument):  # it could not be written to the recipe or the record
            _fail(f"the argument {argument!r} is not UTF-8 text; write it in UTF-8", 2)
    (_assembled(_outlined) if sys.argv[1:] in (["--help"], ["-h"]) else app)()


def _spoken(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with what it raises on purpose told in one sentence and an exit code."""
    known = inspect.signature(command).parameters

    @wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401
        options = with_places(options)
        try:
            with claiming():
                command(**options)
        except KeyboardInterrupt:
            _fail(f"interrupted; {_left_by(command, known)}", 1)
        except _root_errors() as err:
            # Some name options to whoever typed them, and settings to whoever called from Python.
            said = getattr(err, "typed", str(err))
            _fail(said, 1 if isinstance(err, _failures()) else 2)
        except (OSError, MemoryError, RuntimeError) as err:
            if _is_out_of_memory(err):
                _fail(f"out of memory; {_less_memory(known, options)}", 1)
            if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
                _disk_is_full(err.filename)  # it names a temporary file, or stdout
            if not isinstance(err, OSError) or err.filename is None:
                raise  # no path that was given: not the user's to mend
            reason = f"{err.strerror or err}; check the path and its permissions"
            _fail(f"cannot use {os.fsdecode(err.filename)[:200]}: {reason}", 2)

    return run


def _left_by(command: Callable[..., None], known: Container[str]) -> str:
    """What an interrupted command leaves, and how to go on."""
    if "resume" in known:
        return "what was finished is kept, and the same command with --resume goes on"
    if command in _GOES_ON:
        return "what was finished is kept, and the same command goes on"
    if command is demo.demo:
        return "give the same command with --force to begin again"
    return "nothing was half-written; give the same command to begin again"


# Looked up when something was raised, and not before, since they bring torch with them.


def _root_errors() -> tuple[type[Exception], ...]:
    """The root error of each package."""
    from erasure.errors import ErasureError
    from eval.errors import EvalError
    from prompts.errors import PromptError

    return ErasureError, EvalError, PromptError


def _failures() -> tuple[type[Exception], ...]:
    """Those that are not the fault of the input."""
    from erasure.errors import DiskError, TrainingError

    return DiskError, TrainingError


def _is_out_of_memory(err: Exception) -> bool:
    from erasure.memory import is_out_of_memory

    return is_out_of_memory(err)


def _less_memory(known: Container[str], options: Mapping[str, Any]) -> str:
    """What to do where the command itself has no better answer."""
    ways = []
    if "batch_size" in known:
        now = options.get("batch_size")
        ways.append(f"--batch-size {max(1, now // 2)} (now {now})" if now else "--batch-size 1")
    if "device" in known:
        ways.append("another --device")
    return f"give {' or '.join(ways)}" if ways else "use a machine with more memory"


def _fail(message: str, code: int) -> None:
    print(f"erasure: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def _disk_is_full(path: Any) -> None:  # noqa: ANN401
    where = "the output" if path is None else os.fsdecode(path)[:200]
    if path is None and sys.__stdout__ is not None:  # what is left is not tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
    _fail(f"cannot write {where}: the disk is full; free some space or write elsewhere", 1)


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quiet_libraries() -> None:
    """Keep other people's notes out of a user's way; errors still come through."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    libraries = ("transformers", "diffusers", "datasets", "huggingface_hub", "bitsandbytes")
    for library in libraries:
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def _outlined(command: Callable[..., None]) -> Callable[..., None]:
    """What the list of all commands shows of one: its first sentence. The options, which take most
    of the time that `erasure --help` would, are left out."""

    def outline() -> None:
        raise AssertionError("an outline is shown and not run")

    outline.__doc__ = command.__doc__
    return outline


def _assembled(form: Callable[[Callable[..., None]], Callable[..., None]]) -> typer.Typer:
    """All commands, each in the form that is asked for."""
    made = typer.Typer(
        name="erasure",
        epilog="\b\nExample:\n  erasure erase demo --concept church --out out/church",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST},
    )
    made.callback()(_erasure)
    _add(made, _COMMANDS, form)
    for name, (about, inner) in _GROUPS.items():
        group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
        _add(group, inner, form)
        made.add_typer(group, name=name, help=about)
    return made


class _Command(GivenOnce, EmptyValues, GroupedHelp):
    """A command of this program."""


def _add(
    to: typer.Typer,
    commands: dict[str, tuple[Callable[..., None], str]],
    form: Callable[[Callable[..., None]], Callable[..., None]],
) -> None:
    for name, (command, example) in commands.items():
        epilog = f"\b\nExample:\n  {example}"
        to.command(name, cls=_Command, epilog=epilog)(form(command))


app = _assembled(_spoken)


if __name__ == "__main__":
    main()
