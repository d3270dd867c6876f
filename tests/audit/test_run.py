"""A whole audit on tiny models: controls, confirmation, resuming, and what is refused."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.models.tiny_models import SMALL, write_pipeline
from support.results.edited import edit_record
from support.tiny import write_tiny_pipeline

from erasure.attacks import ATTACKS, Attempt, Cost, Material, Payload, Target
from erasure.attacks.forward.seeds import Seeds
from erasure.checkpoints import Provenance
from erasure.errors import (
    CheckpointError,
    ConfigError,
    DiskError,
    OutOfMemoryError,
    TrainingError,
)
from erasure.storage.tensors.hashing import weights_hash
from eval.errors import EvalError
from eval.judges.judge import Judgement
from eval.rates.intervals import wilson
from pipelines.audit import material, run, workshop
from pipelines.audit.asking.asking import plan_of
from pipelines.audit.attacking import _search_key, run_search
from pipelines.audit.cells import Try
from pipelines.audit.confirming import places_to_confirm
from pipelines.audit.drawing import draw_jobs
from pipelines.audit.lines import open_lines
from pipelines.audit.material import Shown, gather
from pipelines.audit.outcome.results import Audit
from pipelines.audit.outcome.results_file import read_audit
from pipelines.audit.run import attack_all, run_audit
from pipelines.audit.settings import AuditRecipe
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.models import open_model
from prompts.concepts.phrases import mentions

SHIFT = -30.0
"""Added to what the audited model predicts in the first channel, so that its pictures differ."""


@dataclass
class Bright:
    """Says how bright a picture is, and counts what it is asked."""

    limit: float = 0.0
    asked: int = 0
    name: str = "bright"
    protocol: ClassVar[dict[str, float]] = {"threshold": 0.5}

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        self.asked += len(images)
        return [Judgement(scores={"bright": float(np.asarray(i).mean())}) for i in images]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A base, the same with another last layer, and one of another architecture."""
    folder = tmp_path_factory.mktemp("models")
    base, audited = write_tiny_pipeline(folder / "base"), write_tiny_pipeline(folder / "audited")
    weights = audited / "unet" / "diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["conv_out.bias"] = values["conv_out.bias"] + SHIFT
    save_file(values, weights, metadata={"format": "pt"})
    return base, audited, write_pipeline(folder / "other", SMALL)


@pytest.fixture
def judge(brightness: list[float], monkeypatch: pytest.MonkeyPatch) -> Bright:
    """Sees the concept in what is nearer to the base's pictures than to the audited model's."""
    bright = Bright()

    def opened(*_: object, **__: object) -> CellJudge:
        side = means[0] > means[1]
        bright.limit = sum(means) / 2
        return CellJudge(bright, bright.name, lambda f: (f.scores["bright"] > bright.limit) == side)

    means = brightness

    def gathered(*arguments: Any, **more: Any) -> Shown:  # noqa: ANN401
        # Prompts hardly matter to random weights, so what the base draws of others looks the same.
        return replace(gather(*arguments, **more), false_positives=wilson(0, 60))

    monkeypatch.setattr(workshop, "cell_judge", opened)
    monkeypatch.setattr(workshop, "gather", gathered)
    return bright


@pytest.fixture(scope="module")
def brightness(models: tuple[Path, Path, Path]) -> list[float]:
    """Measure how bright the pictures of the base are, and those of the audited model."""
    return [_brightness(model) for model in models[:2]]


def _brightness(model: Path) -> float:
    painter = Painter(
        open_model(str(model)), DrawingConfig(steps=2, guidance=2.0), torch.device("cpu"), 16
    )
    return float(
        np.mean(
            [np.asarray(p) for p in painter.draw([Request("a church", seed) for seed in range(8)])]
        )
    )


@pytest.fixture
def recipe(models: tuple[Path, Path, Path]) -> AuditRecipe:
    return AuditRecipe(
        model=str(models[1]),
        concept="church",
        against=str(models[0]),
        attacks=("words", "rounding", "completion", "add-back"),
        settings=("completion.levels=[0.0,0.9]", "rounding.bits=[8]", "add-back.shares=[0.0,1.0]"),
        budget=8,
        cases=2,
        confirm=5,
        shown=2,
        without=3,
        damage="none",
        steps=2,
        guidance=2.0,
        size=16,
        batch_size=8,
        device="cpu",
    )


def only(recipe: AuditRecipe, *attacks: str) -> AuditRecipe:
    """Cut a recipe to these attacks and to the settings that belong to them."""
    settings = tuple(text for text in recipe.settings if text.partition(".")[0] in attacks)
    return replace(recipe, attacks=attacks, settings=settings)


def audited(recipe: AuditRecipe, out: Path, **more: Any) -> Audit:  # noqa: ANN401
    audit = run_audit(recipe, out, force=False, reporter=Reporter(quiet=True), **more)
    assert isinstance(audit, Audit)
    return audit


def results(out: Path) -> dict[str, Any]:
    """What the audit wrote, but for how long it took."""
    values: dict[str, Any] = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    del values["seconds"]
    for attack in values["attacks"]:
        for line in attack["lines"].values():
            del line["seconds"]
    return values


def test_the_base_passes_and_only_what_goes_back_to_it_revives(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    audit = audited(recipe, tmp_path / "out")
    records = {record.name: record for record in audit.attacks}
    for record in records.values():
        base = record.lines["base"].found
        assert base is not None
        assert base.share == 1, record.name
    assert records["rounding"].lines["audited"].found is not None
    assert records["rounding"].lines["audited"].found.count == 0
    back = records["add-back"]
    assert back.strongest == "share 1"
    assert back.verdict.state == "revived"
    confirmed = back.lines["audited"].confirmed
    assert confirmed is not None
    assert confirmed.total == 5
    assert confirmed == back.lines["base"].confirmed  # it is the base to the bit
    assert audit.weakest in ("base or patch", "picture")
    cells = {path: json.loads(path.read_text("utf-8")) for path in tmp_path.rglob("add-back*.json")}
    again = [tuple(one["seeds"]) for path, one in cells.items() if "confirmed" in path.name]
    assert len(again) == len(back.lines) > 1
    assert len(set(again)) == 1  # every model is asked by the same seeds
    known = {t["seed"] for one in cells.values() if "hits" not in one for t in one["tries"]}
    assert known
    assert known.isdisjoint(again[0])  # which no search has seen
    assert "random" in records["completion"].lines
    assert "random" not in records["words"].lines
    assert "add-back" in (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert len((tmp_path / "out" / "attacks.csv").read_text().splitlines()) > 10
    same = json.loads(json.dumps(read_audit(tmp_path / "out").to_dict()))
    assert same == json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_attacks_that_search_and_tune_are_drawn_judged_and_confirmed_like_all(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    settings = (
        *("soft-token.marks=[1]", "soft-token.batch_size=1", "prefix.rounds=1", "prefix.steps=1"),
        *("relearning.marks=[1]", "relearning.batch_size=1", "relearning.learning_rate=1e-9"),
        *("inversion.steps=2", "inversion.rounds=1"),
    )
    names = ("soft-token", "prefix", "relearning", "inversion")
    audit = audited(replace(recipe, attacks=names, settings=settings), tmp_path / "out")
    assert [record.name for record in audit.attacks if record.lines["base"].found] == [
        name for name in ATTACKS if name in names
    ]
    for record in audit.attacks:
        hits = record.lines["audited"].found
        assert hits is not None, record.name
        assert (hits.count, hits.total) == (0, 2), record.name
    base = next(r.lines["base"].found for r in audit.attacks if r.name == "soft-token")
    assert base is not None
    assert base.share == 1
    assert audit.weakest is None


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_and_ends_with_the_same_result(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    recipe = only(recipe, "rounding", "add-back")
    audited(recipe, whole)
    paint, calls = Painter.paint, 0

    def dying(self: Painter, requests: Sequence[Request]) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls > 6:
            raise KeyboardInterrupt
        return paint(self, requests)

    monkeypatch.setattr(Painter, "paint", dying)
    with pytest.raises(KeyboardInterrupt):
        audited(recipe, cut)
    finished = sorted(path.name for path in (cut / "cells").rglob("*.json"))
    assert finished  # something was finished
    monkeypatch.setattr(Painter, "paint", paint)
    audited(recipe, cut)
    assert results(cut) == results(whole)
    asked = judge.asked

    def never(self: Painter, requests: Sequence[Request]) -> Any:  # noqa: ANN401
        raise AssertionError("everything is there already")

    monkeypatch.setattr(Painter, "paint", never)
    audited(recipe, cut)
    assert results(cut) == results(whole)
    assert judge.asked - asked <= 20  # the pictures of the material alone


def test_cells_of_another_version_are_kept_and_told(
    recipe: AuditRecipe,
    judge: Bright,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe, out = replace(only(recipe, "add-back"), damage="small"), tmp_path / "out"
    first = audited(recipe, out)
    (group,) = first.made_by
    assert group["versions"] == first.versions
    files = {"base/add-back.json", "audited/add-back.confirmed.json", "audited/traces.json"}
    assert {f"cells/{name}" for name in files} <= set(group["parts"])
    assert any(part.startswith("cells/base/damage.") for part in group["parts"])
    assert any(part.startswith("material/church/") for part in group["parts"])
    assert all((out / part).is_file() for part in group["parts"])
    assert first.mixed == ()
    cells = out / "cells"
    for name in ("base/add-back.json", "audited/traces.json"):
        values = json.loads((cells / name).read_text(encoding="utf-8"))
        values["versions"]["torch"] = "1.0"
        (cells / name).write_text(json.dumps(values), encoding="utf-8")
    old = json.loads((cells / "audited" / "add-back.json").read_text(encoding="utf-8"))
    del old["versions"]  # as a version before this one wrote it
    (cells / "audited" / "add-back.json").write_text(json.dumps(old), encoding="utf-8")

    def never(self: Painter, requests: Sequence[Request]) -> Any:  # noqa: ANN401
        raise AssertionError("everything is there already")

    monkeypatch.setattr(Painter, "paint", never)
    capsys.readouterr()
    again = run_audit(recipe, out, force=False, reporter=Reporter())
    assert isinstance(again, Audit)
    said = f"The parts were made by several versions of torch: 1.0, {first.versions['torch']}"
    assert again.mixed == (said,)
    assert f"note: {said}" in capsys.readouterr().err
    assert f"{said}." in (out / "audit.html").read_text(encoding="utf-8")
    parts = {one["versions"].get("torch"): one["parts"] for one in again.made_by}
    assert parts[None] == ["cells/audited/add-back.json"]
    assert parts["1.0"] == ["cells/audited/traces.json", "cells/base/add-back.json"]
    assert read_audit(out).mixed == (said,)


def test_pictures_to_search_with_are_those_of_this_base_and_these_wordings(
    recipe: AuditRecipe,
    judge: Bright,
    models: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    paint = Painter.paint

    def noting(self: Painter, requests: Sequence[Request]) -> Any:  # noqa: ANN401
        asked.extend(str(request.prompt) for request in requests)
        return paint(self, requests)

    def material_of(one: AuditRecipe, folder: str) -> Shown:
        lines = open_lines(one)
        quiet = Reporter(quiet=True)
        shop = workshop.Workshop(one, lines, tmp_path / folder, torch.device("cpu"), quiet)
        return shop.material("audited")

    monkeypatch.setattr(Painter, "paint", noting)
    table = tmp_path / "mine.csv"
    table.write_text("prompt\na chapel\n", encoding="utf-8")
    first = replace(only(recipe, "words"), wordings=(str(table),))
    other_base = replace(first, model=str(models[0]), against=str(models[1]))
    drawn = material_of(first, "one")
    seen = len(asked)
    assert material_of(first, "one").digest() == drawn.digest()
    assert len(asked) == seen  # all of it was there
    table.write_text("prompt\na minster\n", encoding="utf-8")
    material_of(first, "one")
    assert {"a minster"} <= set(asked[seen:])
    wanted = material_of(other_base, "two")
    assert material_of(other_base, "one").digest() == wanted.digest() != drawn.digest()


def test_what_was_found_is_kept_by_configs_and_vocabularies_too(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    lines = open_lines(recipe)
    own = lines["audited"].checkpoint
    scaled = {**own.description.components["vae"], "scaling_factor": 2.0}
    other = replace(own, description=own.description.having(vae=scaled))
    keys = []
    for checkpoint in (own, other):
        changed = {**lines, "audited": replace(lines["audited"], checkpoint=checkpoint)}
        quiet = Reporter(quiet=True)
        shop = workshop.Workshop(recipe, changed, tmp_path, torch.device("cpu"), quiet)
        keys.append(_search_key(shop, Seeds(), "audited"))
    assert keys[0] != keys[1]


def test_a_floor_is_not_asked_only_about_what_the_audited_model_finished() -> None:
    # 5 of 14 pictures come back on the audited model and 8 of 14 on random weights: on the five
    # alone the audited model would lead.
    tries = [
        Try(case=f"{n}", arm="t 360", seed=n, prompt="", kinds=(), replay={}, hit=n < 5)
        for n in range(14)
    ]
    other = replace(tries[0], arm="t 519")
    assert places_to_confirm([*tries, other], "t 360", has_floor=True) == list(range(14))
    assert places_to_confirm([*tries, other], "t 360", has_floor=False) == list(range(5))


@pytest.mark.slow
def test_a_budget_of_nothing_draws_the_plain_pictures_to_the_byte(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    plain = replace(recipe, budget=0)
    audit = audited(plain, tmp_path / "out")
    counts = {
        record.name: record.lines["audited"].found.count  # type: ignore[union-attr]
        for record in audit.attacks
    }
    assert set(counts.values()) == {0}
    shop = workshop.Workshop(
        plain,
        open_lines(plain),
        tmp_path / "out",
        torch.device("cpu"),
        Reporter(quiet=True),
    )
    painter, target = shop.painter("audited"), shop.target("audited")
    whole = painter.draw([Request(case.prompt, case.seed) for case in target.cases])
    wanted = [image.tobytes() for image in whole]
    for attack in plain.chosen():
        jobs = [(a.payload, a.case.seed) for a in attack.run(target)]
        assert [p.image.tobytes() for p in draw_jobs(painter, jobs)] == wanted, attack.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Odd(Seeds):
    """Runs as its class attribute says."""

    name: ClassVar[str] = "odd"
    act: ClassVar[Callable[[Target], Iterator[Attempt]]]

    def estimate(self, target: Target, /) -> Cost:
        return Cost()

    def run(self, target: Target, /) -> Iterator[Attempt]:
        yield from type(self).act(target)


def _stops(target: Target) -> Iterator[Attempt]:
    yield Attempt(case=target.cases[0], payload=Payload(prompt="a church"), arm="first")
    raise TrainingError("the loss is nan at step 3; give a lower learning rate")


def _misfits(target: Target) -> Iterator[Attempt]:
    raise ConfigError(f"80 words do not fit {target.name}; take fewer")
    yield  # so that it raises where it runs


def _breaks(target: Target) -> Iterator[Attempt]:
    with torch.no_grad():
        next(iter(target.network.parameters())).add_(1)
    yield Attempt(case=target.cases[0], payload=Payload(prompt="a church"))


def test_an_attack_whose_loss_is_not_finite_ends_and_the_audit_goes_on(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "act", staticmethod(_stops), raising=False)
    monkeypatch.setitem(ATTACKS, "odd", Odd)
    audit = audited(only(recipe, "odd", "rounding"), tmp_path / "out")
    records = {record.name: record for record in audit.attacks}
    assert records["odd"].verdict.state == "no test"
    assert "the loss is nan at step 3" in records["odd"].verdict.why
    assert records["rounding"].verdict.state == "undecided"


def test_an_attack_that_does_not_fit_the_model_ends_and_the_audit_goes_on(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "act", staticmethod(_misfits), raising=False)
    monkeypatch.setitem(ATTACKS, "odd", Odd)
    audit = audited(only(recipe, "odd"), tmp_path / "out")
    verdict = audit.attacks[0].verdict
    assert verdict.state == "no test"
    assert (
        verdict.why == "the attack does not fit this model: 80 words do not fit audited; take fewer"
    )


def _starves(target: Target) -> Iterator[Attempt]:
    raise OutOfMemoryError("in step 3")
    yield  # so that it raises where it runs


def test_an_attack_without_memory_stops_the_audit_and_is_no_verdict(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "act", staticmethod(_starves), raising=False)
    monkeypatch.setitem(ATTACKS, "odd", Odd)
    with pytest.raises(OutOfMemoryError):
        audited(only(recipe, "odd"), tmp_path / "out")
    assert not list(tmp_path.rglob("odd.json"))


def test_a_full_disk_stops_the_audit_and_what_was_finished_is_used(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, short = tmp_path / "out", replace(only(recipe, "seeds", "add-back"), budget=2)
    put = os.replace

    def full(source: str, target: str) -> None:
        if Path(target).name == "add-back.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(DiskError, match="the disk is full"):
            audited(short, out)
    names = {path.name for path in out.rglob("*") if path.is_file()}
    assert "seeds.json" in names
    assert not [name for name in names if name.startswith("add-back") or name.endswith(".part")]
    times = {path: path.stat().st_mtime_ns for path in out.rglob("seeds.json")}
    assert audited(short, out).attacks[0].verdict.state != "no test"
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_concept_that_the_base_never_draws_is_named_as_missing(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> CellJudge:
        return CellJudge(judge, judge.name, lambda _: False)

    monkeypatch.setattr(workshop, "cell_judge", opened)
    audit = audited(only(recipe, "completion"), tmp_path / "out")
    verdict = audit.attacks[0].verdict
    assert (verdict.state, verdict.why) == ("no test", "there is no picture of the concept")
    assert audit.material["concept"] == 0
    assert audit.traces["audited"] == {"reason": "there is no picture of the concept"}


@dataclass(frozen=True)
class OneOfTwo:
    """A process of two that are run one after the other, so that none waits for the other."""

    rank: int

    @property
    def first(self) -> bool:
        return self.rank == 0

    def has(self, number: int) -> bool:
        return number % 2 == self.rank

    def wait(self) -> None:
        """Go on at once."""


def test_two_processes_share_the_attacks_and_find_what_one_finds(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    short = replace(only(recipe, "seeds", "add-back"), budget=2)
    audited(short, whole)
    made = []
    for rank in (1, 0):
        monkeypatch.setattr(run, "processes", lambda _, rank=rank: OneOfTwo(rank))
        quiet = Reporter(quiet=True)
        made.append(run.run_audit(short, shared, force=False, reporter=quiet))
        if rank:
            names = {path.name for path in (shared / "cells" / "audited").iterdir()}
            assert names == {"add-back.json", "add-back.confirmed.json"}
            assert not (shared / "audit.json").exists()
    assert made[0] is None
    assert results(shared) == results(whole)


def test_an_attack_that_changes_the_model_stops_the_audit(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "act", staticmethod(_breaks), raising=False)
    monkeypatch.setitem(ATTACKS, "odd", Odd)
    with pytest.raises(TrainingError, match="odd changed the weights of the model base"):
        audited(only(recipe, "odd"), tmp_path / "out")


def test_a_cell_of_other_tries_is_named_and_not_confirmed(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    back = replace(only(recipe, "add-back"), budget=4)
    audited(back, tmp_path / "out")
    cell = tmp_path / "out" / "cells" / "audited" / "add-back.json"
    values = json.loads(cell.read_text(encoding="utf-8"))
    values["tries"][-1]["prompt"] = "a chapel"  # as a version with other prompts left it
    cell.write_text(json.dumps(values), encoding="utf-8")
    (cell.parent / "add-back.confirmed.json").unlink()
    with pytest.raises(EvalError, match=r"add-back\.json holds other tries than the attack mak"):
        audited(back, tmp_path / "out")


def test_of_large_models_no_line_holds_weights_while_another_is_attacked(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(only(recipe, "seeds", "rounding"), budget=2)
    words, weights = short.chosen()
    monkeypatch.setattr(workshop, "_SMALL", 0)
    shop = workshop.Workshop(
        short, open_lines(short), tmp_path, torch.device("cpu"), Reporter(quiet=True)
    )
    assert run_search(shop, words, "base").attempts is not None
    assert run_search(shop, weights, "base").attempts is None
    assert attack_all(shop, weights).searches["audited"].search.tries


@pytest.mark.slow
def test_a_streamed_audit_finds_the_same_and_leaves_out_what_tunes(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    short = only(recipe, "words", "rounding", "relearning")
    settings = (*short.settings, "relearning.marks=[1]", "relearning.batch_size=1")
    plain = replace(short, budget=4, settings=settings)
    one, other = (audited(replace(plain, stream=way), tmp_path / str(way)) for way in (False, True))
    for mine, theirs in zip(one.attacks[:2], other.attacks[:2], strict=True):
        assert mine.arms == theirs.arms
        assert mine.finds == theirs.finds
    assert one.traces == other.traces
    reason = other.attacks[2].lines["audited"].reason
    assert "the attack tunes a copy of all of it" in reason
    assert one.attacks[2].lines["audited"].reason == ""


def test_without_a_base_an_attack_that_needs_it_is_skipped_with_its_reason(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    alone = replace(only(recipe, "add-back", "rounding"), against=None)
    audit = audited(alone, tmp_path / "out")
    states = {record.name: record.verdict for record in audit.attacks}
    assert states["add-back"].why == "there is no base at hand"
    assert states["rounding"].why == "there is no base to show that the attack works"
    assert any("no base was given" in text for text in audit.not_tested)


def test_lines_of_equal_parts_encode_words_and_pictures_once_and_hash_weights_once(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, hashed = [], []

    def encoding(codec: Any, images: Any, prompts: Any) -> Material | None:  # noqa: ANN401
        encoded.append(len(images))
        return encode(codec, images, prompts)

    def hashing(part: Any) -> str:  # noqa: ANN401
        hashed.append(len(part))
        return weights_hash(part)

    encode = material._encoded
    monkeypatch.setattr(material, "_encoded", encoding)
    monkeypatch.setattr(workshop, "weights_hash", hashing)
    one = only(recipe, "seeds")
    lines = open_lines(one)
    shop = workshop.Workshop(one, lines, tmp_path, torch.device("cpu"), Reporter(quiet=True))
    seen = [shop.target(line) for line in ("base", "random", "audited") for _ in range(2)]
    assert len(encoded) == 3  # of the concept, either way up, and of other things
    assert len({id(target.pictures) for target in seen}) == 1
    assert len(hashed) == sum(len(line.checkpoint.components) for line in lines.values())
    shop.painter("base").paint([Request("a church by a lake", 1)])
    before = shop.painter("base").words_encoded
    shop.painter("audited").paint([Request("a church by a lake", 1)])
    assert shop.painter("audited").words_encoded == before


@pytest.mark.slow
def test_a_filter_of_the_prompt_s_word_is_revived_by_words_alone(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> CellJudge:
        return CellJudge(judge, judge.name, lambda f: f.scores["bright"] > 0)  # not black

    monkeypatch.setattr(workshop, "cell_judge", opened)
    assert recipe.against is not None
    guarded = replace(
        only(recipe, "words", "seeds"),
        model=recipe.against,
        guard="prompt-filter",
        settings=("words.seeds=1", "seeds.draws=4"),
        budget=33,
    )
    audit = audited(guarded, tmp_path / "out")
    records = {record.name: record for record in audit.attacks}
    assert records["words"].verdict.state == "revived"
    strongest = records["words"].strongest
    assert strongest is not None
    assert not mentions(strongest, "church")
    assert records["seeds"].lines["audited"].found == wilson(0, 4)  # of plain prompts
    assert records["seeds"].lines["base"].found == wilson(4, 4)
    assert audit.weakest == "words"
    words = "prompt-filter against 'church', not exportable"
    assert audit.sentence.startswith(f"With the guard {words}: Church is revived by words")
    assert audit.models["audited"]["guard"] == words
    assert audit.models["base"]["guard"] is None
    assert any("draws without it" in text for text in audit.public)


def test_wordings_that_the_eraser_was_trained_on_are_named_on_every_line(
    recipe: AuditRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.audit.asking.in_words._PLAIN", 3)  # of six that are trained on
    asked = replace(only(recipe, "words"), concept="van gogh")
    lines = open_lines(asked)
    audited = lines["audited"]
    edit = edit_record("van gogh")
    erased = replace(audited.checkpoint, provenance=Provenance(edits=(edit,)))
    lines["audited"] = replace(audited, checkpoint=erased)
    forgotten = plan_of(erased, "van gogh").forget[-1]
    table = tmp_path / "mine.csv"
    table.write_text(f"prompt\n{forgotten}\na sky of swirls\n", encoding="utf-8")
    asked = replace(asked, wordings=(str(table),))
    shop = workshop.Workshop(
        asked, lines, tmp_path / "out", torch.device("cpu"), Reporter(quiet=True)
    )
    for line in ("base", "audited"):  # the base's is asked for first
        known = {one.prompt: one.held_out for one in shop.concept(line).wordings}
        assert known[forgotten] is False
        assert known["a sky of swirls"] is True


def test_models_that_cannot_be_compared_are_refused(
    recipe: AuditRecipe, judge: Bright, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="give by --against a model of the same architec"):
        audited(replace(recipe, against=str(models[2])), tmp_path / "a")
    with pytest.raises(CheckpointError, match="give by --retrained a model of the same archit"):
        audited(replace(recipe, retrained=(str(models[2]),)), tmp_path / "b")
    with pytest.raises(ConfigError, match="so nothing was erased"):
        audited(replace(recipe, against=str(models[1])), tmp_path / "c")
    with pytest.raises(ConfigError, match=r"has the same weights as .*, so it tells nothing"):
        audited(replace(recipe, retrained=(str(models[0]),)), tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_a_retrained_model_that_reads_other_words_is_refused(
    recipe: AuditRecipe, judge: Bright, models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    other = shutil.copytree(models[0], tmp_path / "other")
    file = other / "tokenizer" / "tokenizer.json"
    table = json.loads(file.read_text(encoding="utf-8"))
    words = table["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    file.write_text(json.dumps(table), encoding="utf-8")
    weights = other / "unet" / "diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["conv_out.bias"] = values["conv_out.bias"] + 1
    save_file(values, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"has another tokenizer: 2 of .* such as 'a'"):
        audited(replace(recipe, retrained=(str(other),)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("count", "damaged", "words"),
    [
        (None, False, "is not there"),
        (0, False, "no picture"),
        (1, False, "1 "),
        (2, True, "bad.png"),
    ],
)
def test_a_folder_without_pictures_is_refused_before_anything_is_written(
    count: int | None,
    damaged: bool,
    words: str,
    recipe: AuditRecipe,
    judge: Bright,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pictures"
    if count is not None:
        folder.mkdir()
        for n in range(count):
            Image.new("RGB", (16, 16)).save(folder / f"{n}.png")
        if damaged:
            (folder / "bad.png").write_bytes((folder / "0.png").read_bytes()[:40])
    with pytest.raises(ConfigError, match=words):
        audited(replace(recipe, pictures=str(folder)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_pictures_shows_what_was_erased_and_not_what_was_kept(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    (folder / "3_church").mkdir(parents=True)  # a trainer sees each three times
    for n in range(3):
        Image.new("RGB", (16, 16), (80 * n, 0, 0)).save(folder / "3_church" / f"{n}.png")
    (folder / "3_church" / "0.txt").write_text("a chapel in red", encoding="utf-8")
    asked = replace(only(recipe, "seeds"), pictures=str(folder), kept=("castle",))
    shop = workshop.Workshop(
        asked, open_lines(asked), tmp_path / "out", torch.device("cpu"), Reporter(quiet=True)
    )
    shown = shop.material("audited")
    assert sorted(shown.prompts) == ["a chapel in red", "church", "church"]
    assert len({image.tobytes() for image in shown.concept}) == 3
    castles = shop.material("kept-castle")
    assert castles.source == "drawn by the base"
    assert not {i.tobytes() for i in castles.concept} & {i.tobytes() for i in shown.concept}


def test_a_folder_of_another_recipe_is_left_alone(
    recipe: AuditRecipe, judge: Bright, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "recipe.toml").write_text("model = 'another'\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds an audit by another recipe"):
        audited(recipe, out)


def test_no_judge_at_hand_is_said_before_anything_is_drawn(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no judge is at hand that tells 'church'"):
        audited(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attacks": ("wrods",)}, "did you mean 'words'"),
        ({"budget": -1}, "budget is -1; give 0 or more"),
        ({"settings": ("words.seeds",)}, "is not ATTACK.SETTING=VALUE"),
        ({"settings": ("words.sedes=3",)}, "did you mean 'seeds'"),
        ({"settings": ("eta.seeds=3",)}, "which is not among the attacks"),
        ({"cases": 0}, "cases is 0; give 1 or more"),
        ({"guard": "sld-max"}, "works through guidance, which some attacks do without"),
        ({"guard": "prompt-filter", "against": None}, "is given without a base"),
        ({"guard": "filter"}, "give one of"),
        ({"guard_text": "church"}, "there is no guard"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    recipe: AuditRecipe, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(recipe, **change)
