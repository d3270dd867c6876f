"""Too little memory: caught wherever it strikes, nothing lost, and told what needs less."""

import errno
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.console import erasure
from support.tiny import (
    Toy,
    ToyDenoiser,
    assert_same_bits,
    copied,
    salun,
    some_mask,
    toy_batches,
)
from torch import Tensor

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints import Checkpoint
from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import OutOfMemoryError
from erasure.memory import is_out_of_memory, memory_errors
from erasure.methods import SalUn
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from pipelines.configs.settings import EraseRecipe
from pipelines.run.memory import (
    Less,
    NeedsLessError,
    enough_memory,
    halved,
    narrower_scope,
    of_drawing,
    of_encoding,
    of_saliency,
    of_training,
)

CPU = torch.device("cpu")
ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "torch on a cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 4000000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "torch on windows": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"
        " to allocate 1 bytes."
    ),
    "metal": RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    "python": MemoryError(),
    "the system": OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@dataclass
class Full:
    """A denoiser whose passes, from `after` on, find no memory."""

    network: Toy
    after: int
    error: BaseException
    passes: int = 0

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        self.passes += 1
        if self.passes > self.after:
            raise self.error
        return self.network(x_t, t, condition.tokens)


def trainer_of(network: Toy, wrap: Callable[[Any], Any]) -> MaskedTrainer[PictureBatch]:
    return MaskedTrainer(
        network,
        wrap,
        toy_batches(),
        some_mask(network),
        objective=SalUn(),
        config=TrainConfig(steps=4, batch_size=4, learning_rate=1e-2),
    )


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_step_without_memory_is_not_taken(error: BaseException) -> None:
    network, spared = Toy(), Toy()
    trainer = trainer_of(network, lambda network: Full(network, 5, error))  # 2 passes a step
    with pytest.raises(OutOfMemoryError, match="in step 3 of 4") as info:
        list(trainer.steps())
    assert info.value.__cause__ is error
    assert trainer.done == 2
    reference = trainer_of(spared, ToyDenoiser)
    for _, _step in zip(range(2), reference.steps(), strict=False):
        pass
    assert_same_bits(copied(network), copied(spared))


def test_the_real_allocator_of_torch_is_understood() -> None:
    with pytest.raises(OutOfMemoryError, match="doing this"), memory_errors("doing this"):
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.EIO, "x")])
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as info, memory_errors("this"):
        raise error
    assert info.value is error
    with pytest.raises(type(error)) as info, enough_memory("this", Less(), CPU):
        raise error
    assert info.value is error


def test_what_the_failed_passes_held_is_freed_before_the_state_is_saved() -> None:
    held = []

    def failing() -> None:
        activation = torch.zeros(10)
        held.append(weakref.ref(activation))
        raise torch.OutOfMemoryError("full")

    with pytest.raises(OutOfMemoryError), memory_errors("x"):
        failing()
    assert held[0]() is None


# The core: the state is saved, and goes on elsewhere.


@pytest.mark.default("True")
@pytest.mark.parametrize("saving_fails", [False, True])
def test_a_run_without_memory_keeps_its_last_whole_step(
    saving_fails: bool,
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig(steps=4, batch_size=2, learning_rate=1e-3)
    mask = find_mask(tiny_checkpoint, tiny_data, "all", density=1.0)
    run = (tiny_checkpoint, tiny_data, mask, salun(config))
    state, take = tmp_path / "state.safetensors", MaskedTrainer._accumulate

    def accumulate(self: MaskedTrainer, index: int) -> tuple[float, float]:
        if index == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return take(self, index)

    def no_room(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(MaskedTrainer, "_accumulate", accumulate)
        if saving_fails:
            patch.setattr("erasure.training.training_state.save_run", no_room)
        with pytest.raises(OutOfMemoryError, match="in step 4 of 4"):
            erase(*run, state=state)
    assert state.exists() != saving_fails
    unbroken, again = erase(*run), erase(*run, state=state)
    assert_same_bits(again.network, unbroken.network)
    assert again.history == unbroken.history
    # Smaller passes are the same run: that is the advice that is given.
    smaller = salun(replace(config, micro_batch=1))
    parts = erase(*run[:3], smaller, state=state)
    if not saving_fails:
        assert parts.history[:3] == unbroken.history[:3]  # gone on with
    losses = [[step.loss for step in edit.history] for edit in (parts, unbroken)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# What is told.

RECIPE = EraseRecipe(concept="church", mask="salient", scope="full", method=SalUn())


def test_the_answer_for_training_names_every_option_with_its_value() -> None:
    assert of_training(RECIPE, 1).said() == (
        "go on with --resume and --micro-batch 4 (now 8) or --checkpointing (now off), or begin "
        "anew with --force and --precision bf16-weights (now fp32), --moments 8bit (now fp32) or "
        "--density 0.25 (now 0.5)"
    )


def test_what_is_at_its_least_is_not_named() -> None:
    method = SalUn(micro_batch=1, precision="bf16-weights", moments="8bit")
    least = replace(RECIPE, method=method, checkpointing=True, density=0.01)
    assert of_training(least, 1).said() == (
        "begin anew with --force and --density 0.005 (now 0.01)"
    )
    own = replace(least, mask="own.safetensors")
    assert of_training(own, 1).said() == (
        "nothing that can be set here needs less; use a device with more memory"
    )
    frozen = replace(own, method=replace(method, kept="base"))
    assert "--target moving and --kept noise" in of_training(frozen, 1).said()
    assert "--mask salient (now all)" in of_training(replace(least, mask="all"), 1).said()
    sgd = replace(RECIPE, method=SalUn(optimizer="sgd", momentum=0.0))
    assert "--moments" not in of_training(sgd, 1).said()


def test_what_would_be_refused_is_not_named(tiny_checkpoint: Checkpoint) -> None:
    decaying = replace(RECIPE, method=SalUn(weight_decay=0.1))
    assert "--moments" not in of_training(decaying, 1).said()
    adamw = replace(RECIPE, method=SalUn(weight_decay=0.1, optimizer="adamw"))
    assert "--moments 8bit" in of_training(adamw, 1).said()
    assert "bf16-weights" not in of_training(RECIPE, 1, text=True).said()
    assert narrower_scope(tiny_checkpoint, "unet") == "xattn"
    joint = replace(tiny_checkpoint, architecture=ARCHITECTURES["flux_dev"])
    assert narrower_scope(joint, "transformer") == "attn"
    labels = replace(tiny_checkpoint, architecture=ARCHITECTURES["dit"])
    assert narrower_scope(labels, "transformer") is None
    assert "--scope" not in of_saliency(RECIPE, torch.device("cpu"), scope=None).said()


def test_a_process_of_several_has_a_part_of_the_batch() -> None:
    assert "--micro-batch 1 (now 3)" in of_training(RECIPE, 3).said()
    large = replace(RECIPE, method=SalUn(micro_batch=8))
    assert "--micro-batch 2 (now 4)" in of_training(large, 2).said()
    assert "--micro-batch" not in of_training(RECIPE, 8).said()


def test_the_answer_for_the_mask_names_its_options() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert of_saliency(RECIPE, cpu).said() == (
        "give --saliency-batch 4 (now 8), or for another result --saliency-loss plain (now guided) "
        "or --scope xattn (now full)"
    )
    said = of_saliency(RECIPE, gpu, resumes=True).said()
    options = "--saliency-batch 4 (now 8) or --saliency-offload (now off)"
    assert said.startswith(f"go on with --resume and {options}, or ")
    offloaded = replace(RECIPE, saliency=replace(RECIPE.saliency, offload=True))
    assert "--saliency-offload" not in of_saliency(offloaded, gpu).said()


def test_one_cannot_be_halved() -> None:
    assert halved("batch_size", 1) == ()
    (way,) = halved("batch_size", 3)
    assert way.said("option") == "--batch-size 1 (now 3)"
    assert Less((way,)).forced().said() == "give --batch-size 1 --force (now 3)"
    assert "batch_size = 1 and force=True" in Less((way,)).forced().said("setting")


def test_whoever_calls_from_python_is_told_settings_and_no_options() -> None:
    frozen = replace(RECIPE, method=SalUn(kept="base"))
    said = of_training(frozen, 1).said("setting")
    assert said == (
        "go on with resume=True and method.micro_batch = 4 (now 8) or checkpointing = true "
        "(now off), or begin anew with force=True and "
        'method.precision = "bf16-weights" (now fp32), method.moments = "8bit" (now fp32), '
        'density = 0.25 (now 0.5) or method.target = "moving" and method.kept = "noise", which '
        "need no values of the base"
    )
    assert "data.drawing.batch_size = 2 (now 4)" in of_drawing(4).said("setting")
    assert "data.size = 32 (now 64)" in of_encoding(64, resumes=True).said("setting")
    gpu = of_saliency(RECIPE, torch.device("cuda"), resumes=True).said("setting")
    assert "saliency.batch_size = 4 (now 8) or saliency.offload = true (now off)" in gpu


def test_the_error_itself_names_settings_and_the_command_line_reads_its_options() -> None:
    with (
        pytest.raises(NeedsLessError) as caught,
        enough_memory("training", of_training(RECIPE, 1), torch.device("cpu")),
    ):
        raise MemoryError
    assert "--" not in str(caught.value)
    assert "method.micro_batch = 4 (now 8)" in str(caught.value)
    assert "--micro-batch 4 (now 8)" in caught.value.typed


# The command line.


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def advice(said: Any) -> str:  # noqa: ANN401
    assert said.code == 1, said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    line: str = said.err.splitlines()[-1]
    assert line.startswith("erasure: out of memory")
    return line


@pytest.mark.default("cuda")
@pytest.mark.parametrize("error", ["cuda", "torch on a cpu", "python"])
def test_a_training_without_memory_goes_on_with_what_the_answer_says(
    error: str, tiny_recipe: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, take = tmp_path / "run", MaskedTrainer._accumulate
    line = ["erase", "--recipe", tiny_recipe, "--steps", 3, "--out", run]

    def accumulate(self: MaskedTrainer, index: int) -> tuple[float, float]:
        if index == 2:
            raise ERRORS[error]
        return take(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(MaskedTrainer, "_accumulate", accumulate)
        answer = advice(erasure(*line))
    assert "on cpu while training in step 3 of 3; what was finished is kept: " in answer
    assert "go on with --resume and --micro-batch 1 (now 2) or --checkpointing (now off)" in answer
    assert len(load_file(run / "state.safetensors")["history"]) == 2
    assert not list(run.glob("*.part"))
    said = erasure(*line, "--resume", "--micro-batch", 1, "--checkpointing")
    assert said.code == 0, said.err
    ends = [(path / "loss.csv").read_text().splitlines()[:3] for path in (run, tiny_run)]
    assert ends[0] == ends[1]  # the steps before it
    assert "micro_batch = 1" in (run / "recipe.toml").read_text()


@pytest.mark.slow
def test_an_optimiser_without_memory_leaves_the_state_of_the_save_before(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, step, steps = tmp_path / "run", torch.optim.Adam.step, []

    def fail_in_the_third(self: torch.optim.Adam) -> None:
        steps.append(step(self))
        if len(steps) == 3:  # half a step, for all that anyone knows
            raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(torch.optim.Adam, "step", fail_in_the_third)
    line = ["erase", "--recipe", tiny_recipe, "--steps", 3, "--out", run]
    assert "on cpu while training; what was finished is kept: " in advice(erasure(*line))
    assert len(load_file(run / "state.safetensors")["history"]) == 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            "pipelines.data.concept_data.encode_concept",
            "while encoding pictures; what was finished is kept: begin anew with --force and "
            "data.size 16 in the recipe (now 32)",
        ),
        (
            "pipelines.drawing.generation.Painter.paint",
            "while drawing pictures; what was finished is kept: go on with --resume and "
            "--drawing-batch 2 (now 4)",
        ),
        (
            "erasure.diffusion.scores.saliency.forget_loss",
            "while measuring the mask; what was finished is kept: go on with --resume and "
            "--saliency-batch 4 (now 8), or begin anew with --force and --saliency-loss plain",
        ),
        (
            "pipelines.run.run_result.compare",
            "while drawing the grid; what was finished is kept: go on with --resume and "
            "--drawing-batch 2 (now 4)",
        ),
    ],
)
def test_every_part_of_an_erasure_names_its_own_options(
    place: str,
    words: str,
    tiny_folder: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, failing(ERRORS["torch on a cpu"]))
    places = ("--cache", tmp_path / "cache", "--out", tmp_path / "run")
    assert words in advice(erasure("erase", "--recipe", tiny_recipe, "--steps", 1, *places))


@pytest.mark.crossed
@pytest.mark.parametrize(
    ("arguments", "place", "words"),
    [
        (
            ("mask", "MODEL", "--concept", "church", "--forget-drawn", 1),
            "pipelines.drawing.generation.Painter.paint",
            "while drawing pictures: give --drawing-batch ",
        ),
        (
            ("compare", "MODEL", "MODEL", "--prompt", "x", "--batch-size", 6),
            "pipelines.drawing.generation.Painter.paint",
            "while drawing pictures: give --batch-size 3 (now 6)",
        ),
        (
            ("evaluate", "MODEL", "--suite", "canvas", "--limit", 2, "--batch-size", 2),
            "pipelines.drawing.generation.Painter.paint",
            "while evaluating: give --batch-size 1 --force (now 2), or for another result "
            "--precision bf16 --force (now fp32)",
        ),
        (
            ("classify", "train", "--data", "digits", "--batch-size", 64),
            "pipelines.classifiers.runs.train_original",
            "while training: for another result --batch-size 32 (now 64)",
        ),
        (
            ("classify", "unlearn", "MODEL"),
            "pipelines.classifiers.runs.load_classifier",
            "out of memory; give another --device",
        ),
        (
            ("export", "MODEL"),
            "erasure.checkpoints.writing.single_file.write_tensors",
            "out of memory; use a machine with more memory",
        ),
    ],
)
@pytest.mark.parametrize("error", ["cuda", "torch on a cpu"])
def test_the_other_commands_answer_too(
    error: str,
    arguments: tuple[Any, ...],
    place: str,
    words: str,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outs = {"compare": "x.png", "evaluate": "x"}
    line = [tiny_folder if part == "MODEL" else part for part in arguments]
    cache = ("--cache", tmp_path / "cache") if arguments[0] == "mask" else ()
    if arguments[1] == "unlearn":
        line[2] = tmp_path / "a.safetensors"
    monkeypatch.setattr(place, failing(ERRORS[error]))
    out = tmp_path / outs.get(arguments[0], "x.safetensors")
    device = ("--device", "cpu") if arguments[0] != "export" else ()
    assert words in advice(erasure(*line, *cache, *device, "--out", out))
    assert not out.is_file()
