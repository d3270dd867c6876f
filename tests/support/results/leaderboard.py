"""The smallest benchmark: a tiny model, six prompts, a few steps."""

from pathlib import Path
from typing import Any

from support.console import Said, erasure

ROWS = [
    ("a church in sketch style", "church", "sketch", 1),
    ("a church in flat style", "church", "flat", 2),
    ("a dog in sketch style", "dog", "sketch", 3),
    ("a dog in flat style", "dog", "flat", 4),
]
QUICK = """
concepts = ["church"]
suite = "csv"
judges = ["canvas"]
masks = ["all"]
steps = 2
limit = 4
neighbours = 0
device = "cpu"

[erase]
save_every = 1

[erase.saliency]
draws = 1

[erase.data.forget]
drawn = 2

[erase.data.retain]
drawn = 2

[erase.data.drawing]
steps = 2
"""
TRAINED = "\n[methods.{}]\nsteps = 2\nbatch_size = 2\n"
OWN = """
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    name: ClassVar[str] = "broken"
    title: ClassVar[str] = "raises"
    source: ClassVar[str] = "a test"
    default_mask: ClassVar[str] = "all"
    default_scope: ClassVar[str] = "xattn"

    @property
    def needs(self):
        return frozenset({"prompts"})

    def length(self, mask, /):
        return 1

    def run(self, task, /):
        raise TypeError("<b>this</b> method | is broken")
        yield
"""

WORKING = """
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from erasure.methods.gradient.by_gradient import ByGradient
from erasure.training.objective import Loss


@dataclass(frozen=True, kw_only=True)
class Mine(ByGradient):
    name: ClassVar[str] = "mine"
    title: ClassVar[str] = "leads the concept to a share of its replacement"
    source: ClassVar[str] = "a test"
    default_mask: ClassVar[str] = "all"
    default_scope: ClassVar[str] = "xattn"
    needs: ClassVar[frozenset[str]] = frozenset({"prompts", "pictures", "frozen"})

    share: float = 0.5

    def run(self, task):
        return task.train(self, task.pictures(self), self, needs_frozen=True)

    def __call__(self, student, frozen, batch):
        one = batch.forget
        with torch.no_grad():
            wanted = self.share * frozen(one.x_t, one.t, batch.replacement)
        return Loss(F.mse_loss(student(one.x_t, one.t, one.condition), wanted), torch.zeros(()))
"""


def quick_bench(folder: Path, trained: tuple[str, ...] = (), **more: object) -> Path:
    """A recipe of a benchmark of seconds; `trained` are methods that take two steps."""
    prompts = folder / "prompts.csv"
    lines = ["prompt,object,style,seed", *(",".join(map(str, row)) for row in ROWS)]
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = [f"prompts = {str(prompts)!r}", *(f"{key} = {value!r}" for key, value in more.items())]
    path = folder / "bench.toml"
    text = "\n".join(own) + QUICK + "".join(map(TRAINED.format, trained))
    path.write_text(text, encoding="utf-8")
    return path


def bench(model: Path, recipe: Path, out: Path, *options: Any) -> Said:  # noqa: ANN401
    """Run the command."""
    return erasure("bench", model, "--recipe", recipe, "--out", out, *options)
