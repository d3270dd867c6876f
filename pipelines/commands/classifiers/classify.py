"""`erasure classify train | unlearn | evaluate | bench`: forgetting in classifiers."""

from collections.abc import Callable

from pipelines.commands.classifiers.classify_bench import bench
from pipelines.commands.classifiers.classify_evaluate import evaluate
from pipelines.commands.classifiers.classify_train import train
from pipelines.commands.classifiers.classify_unlearn import unlearn

COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    # Name -> what it does, and an example.
    "train": (train, "erasure classify train --data fashion-mnist --out clothes.safetensors"),
    "unlearn": (
        unlearn,
        "erasure classify unlearn clothes.safetensors --forget 10% --method salun \\\n"
        "      --out forgot.safetensors",
    ),
    "evaluate": (
        evaluate,
        "erasure classify evaluate forgot.safetensors \\\n      --retrained retrained.safetensors",
    ),
    "bench": (bench, "erasure classify bench --recipe narrow --tune 8 --out out/bench"),
}
"""For the command line, which gives each its errors and exit codes."""
