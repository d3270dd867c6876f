"""The work that a record states is what hooks of torch count, whatever the method and the cut."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from support.console import erasure
from support.threads import as_team
from support.tiny import Toy, ToyDenoiser, random_pictures, some_mask, toy_batches
from torch import Tensor, nn
from transformers import CLIPTextModel

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.checkpoints.writing.card import model_card
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import AnchorPixels, PromptLists
from erasure.diffusion.edit import component_of, erase
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.editing.proving import Edit
from erasure.errors import MaskError
from erasure.masks.combining import union_of
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.masks import SaliencyMask
from erasure.methods import METHODS, Esd, Method, SalUn, make_method
from erasure.team import ALONE, Team
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import load_state, save_state
from erasure.work import Tally, Work, work_said, work_table
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request, work_of

STAND_INS = {"a church": ["a castle"], "church": ["castle"]}
TRAINING = {"steps": 2, "batch_size": 3, "learning_rate": 1e-3}
OWN: dict[str, dict[str, Any]] = {
    "salun": {"kept": "base", "target": "frozen"},
    "erasediff": {"rule": "computed"},
    "concept-ablation": {"prior": 1.0},
    "ant": {"rollout_steps": 4, "keep_steps": 1},
    "mace": {"steps": 2, "pictures": 2, "drawing_steps": 3, "around_300": False},
    "adv-unlearn": {
        "rollout_steps": 4,
        "retain_batch": 1,
        "attack_steps": 1,
        "attack_warmup": 1,
    },
    **{name: {} for name in ("uce", "rece", "speed")},
    **{name: {"rollout_steps": 4} for name in ("esd", "sdd", "leco")},
}


@dataclass
class Seen:
    """Counts of samples that hooks on all modules have seen."""

    forward: int = 0
    backward: int = 0
    text: int = 0
    encoded: int = 0
    decoded: int = 0


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Count the samples through every UNet, text encoder and VAE of this process."""
    seen = Seen()

    def back(gradient: Tensor) -> None:
        seen.backward += len(gradient)

    def hook(module: nn.Module, args: Any, made: Any) -> None:  # noqa: ANN401
        if isinstance(module, UNet2DConditionModel):
            answer = made[0] if isinstance(made, tuple) else made.sample
            seen.forward += len(answer)
            if answer.requires_grad:
                answer.register_hook(back)
        elif isinstance(module, CLIPTextModel):
            seen.text += len(made[0])

    def counted(name: str, field: str) -> None:
        plain = getattr(AutoencoderKL, name)

        def call(self: AutoencoderKL, x: Tensor, *args: Any, **more: Any) -> Any:  # noqa: ANN401
            setattr(seen, field, getattr(seen, field) + len(x))
            return plain(self, x, *args, **more)

        monkeypatch.setattr(AutoencoderKL, name, call)

    counted("encode", "encoded")
    counted("decode", "decoded")
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def data(tiny_checkpoint: Checkpoint) -> ConceptData:
    """All that any method may need."""
    return encode_concept(
        tiny_checkpoint,
        random_pictures(["a church"] * 3),
        STAND_INS,
        random_pictures(["a dog", "a castle"], seed=1),
        prompts=PromptLists(["a church", "church"], ["a dog", "a truck"]),
        anchors=AnchorPixels(random_pictures(["a castle"] * 2, seed=2), ["a church"] * 2),
    )


@pytest.fixture(scope="module")
def mask(tiny_checkpoint: Checkpoint, data: ConceptData) -> SaliencyMask:
    return find_mask(tiny_checkpoint, data, "all", scope="xattn-kv")


@pytest.fixture(scope="module")
def masks(
    tiny_checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask
) -> dict[str, SaliencyMask]:
    """Component -> a mask of it."""
    text = find_mask(tiny_checkpoint, data, "all", scope="attn", component="text_encoder")
    return {"unet": mask, "text_encoder": text}


def method_of(name: str, **more: Any) -> Method:  # noqa: ANN401
    closed = name in ("uce", "rece", "speed", "mace")
    return make_method(name, **({} if closed else TRAINING) | OWN.get(name, {}) | more)


def stage(edit: Edit, name: str = "method") -> Work:
    return Work(**edit.provenance.last.config["work"]["stages"].get(name, {}))


@pytest.mark.parametrize("name", METHODS)
def test_the_passes_of_every_method_are_what_hooks_count(
    name: str,
    tiny_checkpoint: Checkpoint,
    data: ConceptData,
    masks: dict[str, SaliencyMask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = method_of(name)
    mask = masks[component_of(method, tiny_checkpoint)]
    with counting(monkeypatch) as seen:
        work = stage(erase(tiny_checkpoint, data, mask, method))
    # The two steps of MACE have a loss of attention maps, which sends no gradient to the answer.
    inner = 2 if name == "mace" else 0
    assert (work.forward, work.backward) == (seen.forward, seen.backward + inner)
    solved = name in ("uce", "rece", "speed")
    assert (work == Work()) == solved
    drawn = {"esd": 6, "sdd": 6, "leco": 6, "ant": 12, "mace": 2, "adv-unlearn": 15}
    assert work.rolled_out == drawn.get(name, 0)


@pytest.mark.parametrize("name", ["salun", "esd"])
def test_an_adversary_counts_its_passes_and_the_texts_it_reads(
    name: str,
    tiny_checkpoint: Checkpoint,
    data: ConceptData,
    mask: SaliencyMask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with counting(monkeypatch) as seen:
        work = stage(erase(tiny_checkpoint, data, mask, method_of(name, harden=2)))
    assert (work.forward, work.backward, work.text) == (seen.forward, seen.backward, seen.text)
    assert work.text == 3 * 6  # two steps and the last reading, of two steps of three samples


@pytest.mark.default("salun")
@pytest.mark.parametrize("name", ["salun", "erasediff", "esd", "ant"])
def test_the_work_is_the_same_in_passes_of_one_on_a_team_and_when_cut(
    name: str, tiny_checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask, tmp_path: Path
) -> None:
    method: Any = method_of(name)

    def run(team: Team = ALONE, **more: Any) -> Work:  # noqa: ANN401
        return stage(erase(tiny_checkpoint, data, mask, replace(method, **more), team=team))

    whole = run()
    assert whole.backward
    assert run(micro_batch=1) == whole
    assert as_team(run) == [whole, whole]

    def stop(step: object) -> None:
        raise InterruptedError

    state = tmp_path / "state.safetensors"
    with pytest.raises(InterruptedError):
        erase(tiny_checkpoint, data, mask, method, state=state, on_step=stop)
    again = erase(tiny_checkpoint, data, mask, method, state=state)
    assert len(again.history) == 2
    assert stage(again) == whole


def test_a_state_of_a_version_that_did_not_count_leaves_the_work_unknown(tmp_path: Path) -> None:
    def trainer() -> MaskedTrainer[Any]:
        network = Toy()
        mask, config = some_mask(network), TrainConfig(steps=3, batch_size=2)
        return MaskedTrainer(
            network, ToyDenoiser, toy_batches(), mask, objective=SalUn(), config=config
        )

    old, new = trainer(), trainer()
    history = [next(old.steps())]
    assert old.work is not None
    old.work = None
    save_state(tmp_path / "state", old, history, "a run")
    load_state(tmp_path / "state", new, "a run")
    assert [step.index for step in new.steps()] == [2, 3]
    assert new.work is None
    assert work_said(work_table({"method": new.work})).endswith("not known: method")


def test_checkpointed_activations_count_no_pass_twice(
    tiny_checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask
) -> None:
    method = method_of("salun")
    plain = erase(tiny_checkpoint, data, mask, method)
    again = erase(tiny_checkpoint, data, mask, method, checkpointing=True)
    assert stage(again) == stage(plain)


@pytest.mark.default("own")
@pytest.mark.parametrize("loss", ["guided", "plain", "own"])
def test_the_passes_of_a_mask_are_what_hooks_count_and_its_file_holds_them(
    loss: Any,  # noqa: ANN401
    tiny_checkpoint: Checkpoint,
    data: ConceptData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = SaliencyConfig(loss=loss, draws=2, batch_size=2)
    method = Esd(rollout_steps=3) if loss == "own" else None

    def measured(team: Team = ALONE) -> SaliencyMask:
        return find_mask(
            tiny_checkpoint, data, scope="xattn-kv", config=config, method=method, team=team
        )

    with counting(monkeypatch) as seen:
        mask = measured()
    work = mask.info.work
    assert work is not None
    assert (work.forward, work.backward) == (seen.forward, seen.backward)
    assert [one.info.work for one in as_team(measured)] == [work, work]
    save_mask(tmp_path / "mask.safetensors", mask)
    assert load_mask(tmp_path / "mask.safetensors").info == mask.info
    assert union_of([mask, mask]).info.work == work + work
    edit = erase(tiny_checkpoint, data, mask, make_method("uce"))
    assert stage(edit, "mask") == work


def test_a_mask_that_does_not_say_what_it_took_is_not_counted_as_none(
    tiny_checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask
) -> None:
    silent = mask.with_info(replace(mask.info, work=None))
    work = erase(tiny_checkpoint, data, silent, make_method("uce")).provenance.last.config["work"]
    assert work["stages"]["mask"] is None
    assert work_said(work).endswith("not known: mask")


def test_counts_in_a_mask_file_that_are_none_are_refused(
    mask: SaliencyMask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work, "to_dict", lambda self: {"forward": -1})
    save_mask(tmp_path / "mask.safetensors", mask)
    with pytest.raises(MaskError, match="its work is"):
        load_mask(tmp_path / "mask.safetensors")


def test_encoding_counts_every_picture_and_prompt_that_goes_through_an_encoder(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting(monkeypatch) as seen:
        data = encode_concept(
            tiny_checkpoint,
            random_pictures(["a church"] * 3),
            STAND_INS,
            random_pictures(["a dog", "a castle"], seed=1),
            prompts=PromptLists(["a church", "church"], ["a dog", "a truck"]),
            anchors=AnchorPixels(random_pictures(["a castle"] * 2, seed=2), ["a church"] * 2),
        )
    assert data.work == Work(text=seen.text, encoded=seen.encoded)
    assert data.work == Work(text=7, encoded=7)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_drawing_counts_what_hooks_count(
    guidance: float, tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DrawingConfig(steps=3, guidance=guidance, batch_size=2)
    requests = [Request("a church", 0), Request("a dog", 1), Request("a church", 2)]
    with counting(monkeypatch) as seen:
        list(Painter(tiny_checkpoint, config, torch.device("cpu")).draw(requests))
    work = work_of(requests, config, tiny_checkpoint.architecture)
    assert work == Work(forward=seen.forward, text=seen.text, drawn=seen.decoded)


def test_the_sum_is_of_all_stages(
    tiny_checkpoint: Checkpoint, data: ConceptData, mask: SaliencyMask
) -> None:
    spent = {"draw": Work(forward=12, drawn=3)}
    edit = erase(tiny_checkpoint, data, mask, SalUn(**TRAINING), spent=spent)
    work = edit.provenance.last.config["work"]
    total = Work()
    for counts in work["stages"].values():
        total += Work(**counts)
    assert total.to_dict() == {name: work[name] for name in total.to_dict()}
    assert set(work["stages"]) == {"draw", "encode", "method"}
    card = model_card(edit.provenance, base="a model")
    assert f"| work | {work_said(work)} |" in card


def test_no_picture_to_retain_is_drawn_where_a_mask_alone_needs_pictures(
    tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--method", "esd", "--mask", "salient"),
        *("--steps", 1, "--forget-drawn", 2, "--seeds", 0, "--device", "cpu", "--json"),
        *("--set", "rollout_steps=2", "--set", "data.drawing.steps=2"),
        *("--set", "grid.drawing.steps=1", "--cache", tmp_path / "cache", "--out", tmp_path / "a"),
    )
    assert said.code == 0, said.err
    assert json.loads(said.out)["work"]["drawn"] == 2


@pytest.mark.slow
def test_a_run_s_record_output_and_card_tell_the_same_with_a_cache_and_without(
    tiny_folder: Path, tmp_path: Path
) -> None:
    records = []
    for name in ("one", "two"):
        said = erasure(
            *("erase", tiny_folder, "--concept", "church", "--steps", 1, "--batch-size", 2),
            *("--forget-drawn", 2, "--retain-drawn", 3, "--seeds", 0, "--device", "cpu", "--json"),
            *("--set", "data.drawing.steps=2", "--set", "grid.drawing.steps=1"),
            *("--cache", tmp_path / "cache", "--out", tmp_path / name),
        )
        assert said.code == 0, said.err
        work = json.loads(said.out)["work"]
        record = json.loads((tmp_path / name / "erasure.json").read_text(encoding="utf-8"))
        assert record["config"]["work"] == work
        records.append(work)
    assert records[0] == records[1]  # the second run finds its pictures in the cache
    assert records[0]["drawn"] == records[0]["encoded"] == 5
    assert set(records[0]["stages"]) == {"draw", "encode", "mask", "method"}
    provenance = read_checkpoint(tmp_path / "one" / "model").provenance
    assert provenance is not None
    assert provenance.last.config["work"] == records[0]
    card = (tmp_path / "one" / "model" / "README.md").read_text(encoding="utf-8")
    assert work_said(records[0]) in card


@pytest.mark.parametrize(
    "counts",
    [None, 3, {}, {"forward": 1}, {**Work().to_dict(), "text": "| x"}, {**Work().to_dict(),
     "backward": -1}, {**Work().to_dict(), "drawn": True}],
)  # fmt: skip
def test_counts_from_a_file_that_are_none_are_left_out(counts: object) -> None:
    assert work_said(counts) == ""


def test_counts_add_up_and_come_back_from_a_row() -> None:
    tally = Tally()
    tally.count(forward=2)
    tally.add(Work(text=3))
    assert tally.take() == Work(forward=2, text=3)
    assert tally.work == Work()
    large = Work(forward=2**40 + 1, drawn=7)
    assert Work.of_row(large.row()) == large
    assert large.times(3) == large + large + large
    with pytest.raises(ValueError, match="counts of work"):
        Work.of_row(torch.tensor([1.0, -1, 0, 0, 0, 0]))
    assert work_table({"a": large, "b": Work()})["stages"] == {"a": large.to_dict()}
