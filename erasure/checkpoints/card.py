"""The model card of a sanitized checkpoint: `README.md` with the hub's metadata on top."""

from typing import Final

from huggingface_hub import ModelCardData

from erasure.checkpoints.provenance import Provenance

_LIMITS: Final = """\
- Erasure lowers the chance that the concept is drawn; it gives no guarantee. Other words,
  adversarial prompts, image inputs and fine-tuning can bring it back.
- Concepts close to the erased one, and overall quality, may have changed. The picture above shows
  a few prompts and seeds, not a full evaluation.
- Text encoders and VAE are those of the base model.
- The base model's licence and terms of use apply to this model too."""


def model_card(
    provenance: Provenance,
    *,
    base: str,
    base_id: str | None = None,
    license_id: str = "other",
    grid: str | None = None,
    usage: str = "",
) -> str:
    """Markdown with YAML front matter, ready for `README.md`.

    Args:
        provenance: what was done.
        base: what to call the base model.
        base_id: its id on the hub, for the metadata; None where it is not from there.
        license_id: the base model's licence as the hub spells it.
        grid: path of the before-and-after picture, relative to the card; None leaves it out.
        usage: a code block of your own; by default loading with diffusers.
    """
    concept = _inline(provenance.concept)
    data = ModelCardData(
        license=license_id,
        license_name=f"that of {base}" if license_id == "other" else None,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        base_model=base_id,
        tags=["stable-diffusion", "concept-erasure", "machine-unlearning", "salun"],
    )
    picture = f"![Before and after, same seeds]({grid})\n\n" if grid else ""
    return (
        f"---\n{data.to_yaml()}\n---\n\n"
        f"# {_inline(base)} without {concept}\n\n"
        f"A Stable Diffusion checkpoint made from {_inline(base)} that has unlearned "
        f"**{concept}** by saliency-masked unlearning (SalUn, arXiv:2310.12508).\n\n"
        f"{picture}{usage or _USAGE}\n"
        f"## Provenance\n\n{_table(provenance)}\n\n"
        "`erasure verify PATH` recomputes the result hash and compares.\n\n"
        f"## Limits\n\n{_LIMITS}\n"
    )


_USAGE: Final = """\
```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("PATH")
```
"""


def _table(provenance: Provenance) -> str:
    rows = {
        "erased concept": _inline(provenance.concept),
        "objective": _inline(provenance.objective),
        "weights selected": f"{provenance.selected:,} of {provenance.total:,} "
        f"(density {provenance.density:g} of the candidates)",
        "weights moved": f"{provenance.moved:,}",
        "base UNet": f"`{provenance.base_hash}`",
        "this UNet": f"`{provenance.result_hash}`" if provenance.result_hash else "see header",
        "mask": f"`{provenance.mask_hash}`" if provenance.mask_hash else "none",
        "written by": f"erasure {provenance.version}, {provenance.created}",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _inline(text: str) -> str:
    """One line that cannot break out of a heading or a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
