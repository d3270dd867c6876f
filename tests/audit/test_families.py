"""An audit of tiny random models of other families, without their judge or pictures."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support.models.tiny_flow import write_sd3
from support.models.tiny_models import SD2_SMALL, write_pipeline
from support.models.tiny_sdxl import write_sdxl
from support.results.seeing import Sees, judged_well

from erasure.attacks import Target
from erasure.attacks.diagnostics.traces import Trace, TraceConfig
from pipelines.audit import run as audit_run
from pipelines.audit import traces as audit_traces
from pipelines.audit import workshop
from pipelines.audit.outcome.results import Audit
from pipelines.audit.settings import AuditRecipe
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge


def write(kind: str, folder: Path) -> Path:
    if kind == "SD 2.x":
        return write_pipeline(folder, SD2_SMALL)
    return write_sdxl(folder)


@pytest.mark.slow
def test_attacks_by_words_weights_and_pictures_run_on_a_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, audited = (write_sd3(tmp_path / name, t5=False) for name in ("base", "audited"))
    weights = audited / "transformer" / "diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["proj_out.bias"] = values["proj_out.bias"] + 1
    save_file(values, weights, metadata={"format": "pt"})
    monkeypatch.setattr(
        workshop, "cell_judge", lambda *_, **__: CellJudge(Sees(), "sees", lambda _: True)
    )
    looked: list[str] = []
    look = audit_traces.trace

    def noting(target: Target, config: TraceConfig, **more: Any) -> Trace:  # noqa: ANN401
        looked.append(target.name)
        return look(target, config, **more)

    monkeypatch.setattr(audit_traces, "trace", noting)
    recipe = AuditRecipe(
        model=str(audited),
        concept="church",
        against=str(base),
        attacks=("words", "rounding", "completion"),
        budget=1,
        cases=1,
        confirm=1,
        shown=1,
        without=1,
        damage="none",
        steps=1,
        guidance=2.0,
        device="cpu",
    )
    audit, again = (
        audit_run.run_audit(recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True))
        for _ in range(2)
    )
    assert isinstance(audit, Audit)
    assert isinstance(again, Audit)
    own = {record.name: record.lines["audited"] for record in audit.attacks}
    for name in ("words", "rounding", "completion"):
        assert own[name].reason == ""
        assert own[name].found is not None
    for line in ("base", "random", "audited"):
        assert len(audit.traces[line]["losses"]["concept"]["null"]) == 5
    assert audit.traces["base"]["losses"] != audit.traces["audited"]["losses"]
    assert again.traces == audit.traces
    assert looked == ["base", "random", "audited"]  # and not again


def edited(kind: str, folder: Path) -> tuple[Path, Path]:
    """A base, and the same with another last layer."""
    base, audited = write(kind, folder / "base"), write(kind, folder / "audited")
    weights = audited / "unet" / "diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["conv_out.bias"] = values["conv_out.bias"] + 1
    save_file(values, weights, metadata={"format": "pt"})
    return base, audited


@pytest.mark.slow  # both families draw some sixty pictures of three models
@pytest.mark.parametrize("kind", ["SD 2.x", "SD XL"])
def test_every_forward_attack_runs_on_the_other_families(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, audited = edited(kind, tmp_path)
    monkeypatch.setattr(
        workshop, "cell_judge", lambda *_, **__: CellJudge(Sees(), "sees", lambda _: True)
    )
    monkeypatch.setattr(audit_run, "traces_of", lambda _: {})
    recipe = AuditRecipe(
        model=str(audited),
        concept="church",
        against=str(base),
        budget=2,
        cases=1,
        confirm=1,
        shown=1,
        without=1,
        damage="none",
        steps=2,
        guidance=2.0,
        size=64,
        device="cpu",
    )
    audit = audit_run.run_audit(
        recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True)
    )
    assert isinstance(audit, Audit)
    for record in audit.attacks:
        own = record.lines["audited"]
        assert own.reason == ""
        assert own.found is not None, record.name
        assert own.unusable == 0
        # The judge sees it everywhere, in pictures of other things too: so nothing is a revival.
        assert record.verdict.state != "revived"


SEARCHES = {
    "benign-tuning": {"marks": [1], "batch_size": 1},
    "relearning": {"marks": [1], "batch_size": 1},
    "prefix": {"rounds": 1, "steps": 1},
    "prefix-match": {"rounds": 1, "steps": 1},
    "concept-vector": {"rounds": 1, "steps": 1, "tokens": 2, "population": 4},
    "pooled-text": {"rounds": 1, "steps": 1, "tokens": 2, "candidates": 2, "top": 4},
    "soft-token": {"marks": [1], "batch_size": 1},
    "inversion": {"steps": 1, "rounds": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SD 2.x", "SD XL"])
def test_every_search_is_drawn_and_confirmed_on_the_other_families(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, audited = edited(kind, tmp_path)
    seen = CellJudge(Sees(), "sees", lambda _: True)
    monkeypatch.setattr(workshop, "cell_judge", lambda *_, **__: seen)
    monkeypatch.setattr(workshop, "gather", judged_well)
    recipe = AuditRecipe(
        model=str(audited),
        concept="church",
        against=str(base),
        attacks=tuple(SEARCHES),
        settings=tuple(
            f"{name}.{key}={value}" for name, own in SEARCHES.items() for key, value in own.items()
        ),
        budget=1,
        cases=1,
        confirm=1,
        shown=2,
        without=2,
        damage="none",
        steps=1,
        guidance=2.0,
        size=64,
        device="cpu",
    )
    audit = audit_run.run_audit(
        recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True)
    )
    assert isinstance(audit, Audit)
    assert {record.name for record in audit.attacks} == set(SEARCHES)
    for record in audit.attacks:
        own = record.lines["audited"]
        assert own.reason == "", record.name
        assert own.found is not None, record.name
        assert own.unusable == 0
        assert own.confirmed is not None, record.name
    vectors = load_file(tmp_path / "out" / "payloads" / "soft-token.safetensors")
    assert len([name for name in vectors if name.startswith("rows")]) == (
        2 if kind == "SD XL" else 1
    )
