"""The pages of the documentation, their code blocks, and a way to run those in little time."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("", "bash", "sh", "console")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SHORTENED = """import json, os, re, sys

from pipelines.cli import main

line = " ".join(sys.argv[1:])
for pattern, options in json.loads(os.environ["SHORTER"]).items():
    if re.search(pattern, line):
        words = options.split()
        for name, value in zip(words[::2], words[1::2], strict=True):
            if name in sys.argv and name != "--set":
                sys.argv[sys.argv.index(name) + 1] = value
            else:
                sys.argv += [name, value]
        break
main()
"""


def fenced(page: Path) -> list[tuple[str, str]]:
    """Kind and text of each fenced block, in order."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    """The fenced blocks of these kinds, in order."""
    for kind, block in fenced(page):
        if kind in kinds:
            yield block


def run_block(kind: str, block: str, folder: Path, shorter: Mapping[str, str] | None = None) -> str:
    """Run a block of Python or of shell in a folder, where it must succeed.

    Args:
        shorter: pattern of an `erasure` line -> options with values that are put behind it, or in
            the place of the page's own; the first pattern that fits counts. None runs as written.

    Returns:
        What it printed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    places = [str(Path(sys.executable).parent)]
    if shorter is not None:
        script = folder / "shorter" / "shortened.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(_SHORTENED, encoding="utf-8")
        command = script.with_name("erasure")
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        installed = script.with_name("pip")  # the test's own environment has what a page installs
        installed.write_text("#!/bin/sh\n", encoding="utf-8")
        installed.chmod(0o755)
        environment["SHORTER"] = json.dumps(dict(shorter))
        block = block.replace("-m pipelines.cli", str(script))
        places.insert(0, str(script.parent))
    environment["PATH"] = os.pathsep.join([*places, os.environ["PATH"]])
    line = [sys.executable, "-c", block] if kind == "python" else ["bash", "-euc", block]
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stderr[-2000:]}"
    return done.stdout
