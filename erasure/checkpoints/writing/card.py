"""The model card of a sanitized checkpoint: `README.md` with the hub's metadata on top."""

from collections.abc import Sequence
from typing import Final

from huggingface_hub import ModelCardData

from erasure.architectures.registry import title_of
from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.wording import listed
from erasure.work import work_said

_LIMITS: Final = """\
- Erasure lowers the chance that the concept is drawn; it gives no guarantee. Other words,
  adversarial prompts, image inputs and fine-tuning can bring it back.
- Concepts close to the erased one, and overall quality, may have changed.{shown}
- {kept}
- The base model's licence and terms of use apply to this model too."""

_SHOWN: Final = " The picture above shows\n  a few prompts and seeds, not a full evaluation."
_PARTLY: Final = (
    "{0:g}: a weight that moved is its base + {0:g} x (edited - base). How much of the concept is "
    "left at this strength was not measured"
)


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
        provenance: what was done; one edit or more.
        base: what to call the model before the first edit.
        base_id: its id on the hub, for the metadata; None where it is not from there.
        license_id: the base model's licence as the hub spells it.
        grid: path of the before-and-after picture, relative to the card; None leaves it out.
        usage: a code block of your own; by default loading with diffusers.
    """
    concepts = [_inline(concept) for concept in provenance.concepts]
    methods = list(dict.fromkeys(filter(None, map(_method, provenance.edits))))
    data = ModelCardData(
        license=license_id,
        license_name=f"that of {base}" if license_id == "other" else None,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        base_model=base_id,
        tags=["text-to-image", "concept-erasure", "machine-unlearning", *methods],
    )
    limits = _LIMITS.format(kept=_kept(provenance.edits), shown=_SHOWN if grid else "")
    picture = f"![Before and after, same seeds]({grid})\n\n" if grid else ""
    return (
        f"---\n{data.to_yaml()}\n---\n\n"
        f"# {_inline(base)} without {listed(concepts)}\n\n"
        f"A checkpoint made from {_inline(base)} that has unlearned "
        f"{listed([f'**{concept}**' for concept in concepts])}{_by(methods)}.\n\n"
        f"{picture}{usage or _USAGE}\n"
        f"## Provenance\n\n{_tables(provenance.edits)}\n\n"
        "`erasure verify PATH` recomputes the hashes of weights and files, compares, and lists "
        "what it did not look at. This card is not among what it compares.\n\n"
        f"## Limits\n\n{limits}\n"
    )


_USAGE: Final = """\
```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("PATH")
```
"""


def _method(edit: EditRecord) -> str:
    """Name of the method; empty where the record does not say it."""
    return _inline(str(edit.config.get("method", "")))


def _by(methods: Sequence[str]) -> str:
    return f" by {listed([f'`{method}`' for method in methods])}" if methods else ""


def _tables(edits: Sequence[EditRecord]) -> str:
    """One table an edit, oldest first, numbered where there are several."""
    if len(edits) == 1:
        return _table(edits[0])
    numbered = (f"### Edit {n}\n\n{_table(edit)}" for n, edit in enumerate(edits, 1))
    return "\n\n".join(numbered)


def _kept(edits: Sequence[EditRecord]) -> str:
    """Say which parts are those of the base."""
    edited = list(dict.fromkeys(edit.component for edit in edits))
    titles = listed([title_of(_inline(name)) for name in edited])
    return f"All parts but the {titles} are those of the base model."


def _table(edit: EditRecord) -> str:
    title = title_of(_inline(edit.component))
    rows = {
        "erased concept": _inline(edit.concept),
        "from": _inline(edit.base) or "a model without a name",
        "objective": _inline(edit.objective),
        "weights selected": f"{edit.selected:,} of {edit.total:,} "
        f"(density {edit.density:g} of the candidates)",
        "weights moved": f"{edit.moved:,}",
        **({} if edit.strength == 1 else {"strength": _PARTLY.format(edit.strength)}),
        f"{title} before": f"`{_inline(edit.base_hash)}`",
        f"{title} after": f"`{_inline(edit.result_hash)}`" if edit.result_hash else "see header",
        **({"work": _inline(work)} if (work := work_said(edit.config.get("work"))) else {}),
        "mask": f"`{_inline(edit.mask_hash)}`" if edit.mask_hash else "none",
        "written by": _inline(f"erasure {edit.version}, {edit.created}"),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _inline(text: str) -> str:
    """One line that cannot break out of a heading or a table cell."""
    return " ".join(text.split()).replace("|", "\\|")
