"""A whole audit of every family of transformers, on tiny random models."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from support.models.tiny_chat import write_flux2, write_qwen_image, write_z_image
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_labels import write_dit
from support.results.seeing import Sees, judged_well

from pipelines.audit import run as audit_run
from pipelines.audit import workshop
from pipelines.audit.outcome.results import Audit
from pipelines.audit.settings import AuditRecipe
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge

FORWARD = ("words", "seeds", "eta", "rounding", "completion", "inpainting")
WRITERS: dict[str, Callable[[Path], Path]] = {
    "sd3": write_sd3,
    "flux": write_flux,
    "flux2": write_flux2,
    "z_image": write_z_image,
    "qwen_image": write_qwen_image,
    "dit": write_dit,
}
LEFT_OUT = {
    "sd3": {"soft-token": "words that all of its text encoders cut alike"},
    "flux": {"soft-token": "words that all of its text encoders cut alike"},
    "flux2": {"soft-token": "reads Qwen2Tokenizer"},
    "z_image": {"soft-token": "reads Qwen2Tokenizer"},
    "qwen_image": {"soft-token": "reads Qwen2Tokenizer"},
    "dit": {"words": "is told a class and reads no text"},
}
"""Family -> attack that it leaves out -> what it says of it."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(WRITERS))
def test_an_attack_runs_or_is_left_out_with_its_reason(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, audited = (WRITERS[kind](tmp_path / name) for name in ("base", "audited"))
    file = audited / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    last = [name for name in weights if name.endswith("weight")][-1]
    save_file({**weights, last: weights[last] + 0.1}, file, metadata={"format": "pt"})
    seen = CellJudge(Sees(), "sees", lambda _: True)
    monkeypatch.setattr(workshop, "cell_judge", lambda *_, **__: seen)
    monkeypatch.setattr(workshop, "gather", judged_well)
    recipe = AuditRecipe(
        model=str(audited),
        concept="3" if kind == "dit" else "church",
        against=str(base),
        attacks=(*FORWARD, "soft-token"),
        settings=("soft-token.marks=[1]", "soft-token.batch_size=1"),
        budget=1,
        cases=1,
        confirm=1,
        shown=2,
        without=2,
        damage="none",
        steps=2,
        guidance=2.0,
        size=None if kind == "dit" else 64,
        device="cpu",
    )
    out = tmp_path / "out"
    audit = audit_run.run_audit(recipe, out, force=False, reporter=Reporter(quiet=True))
    assert isinstance(audit, Audit)
    own = {record.name: record.lines["audited"] for record in audit.attacks}
    assert set(own) == {*FORWARD, "soft-token"}
    for name, line in own.items():
        said = LEFT_OUT[kind].get(name, "")
        assert said in line.reason
        assert bool(line.reason) == bool(said), name
        assert (line.found is None) == bool(said), name
        assert not line.unusable
