"""`erasure compare`: two checkpoints side by side."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipelines.commands.options import AsJson, Device, Force, Out, refuse_taken, say
from pipelines.configs.everyday import ERASE_RECIPE, READING
from pipelines.process.recipe_options import help_of, recipe_options
from pipelines.run.claims import claim

DRAWING: Final = "pipelines.configs.settings:DrawingConfig"


@recipe_options(ERASE_RECIPE, READING)
def compare(
    reading: dict[str, Any],
    before: Annotated[str, typer.Argument(help="The checkpoint before: a model as for erase.")],
    after: Annotated[str, typer.Argument(help="The checkpoint after, or the folder of a run.")],
    out: Out,
    prompt: Annotated[
        list[str] | None, typer.Option(help="A prompt; give it again for more.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts, one a line.")] = None,
    erased: Annotated[
        list[str] | None,
        typer.Option(help="A prompt or concept that was erased; its rows are marked."),
    ] = None,
    seeds: Annotated[str, typer.Option(help=help_of(ERASE_RECIPE, "grid.seeds"))] = "0-4",
    steps: Annotated[int | None, typer.Option(help=help_of(DRAWING, "steps"))] = None,
    guidance: Annotated[float | None, typer.Option(help=help_of(DRAWING, "guidance"))] = None,
    batch_size: Annotated[int | None, typer.Option(help=help_of(DRAWING, "batch_size"))] = None,
    size: Annotated[int | None, typer.Option(help=help_of(ERASE_RECIPE, "data.size"))] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder to also write each picture to.")
    ] = None,
    device: Device = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw the same prompts and seeds by two checkpoints.

    Writes a labelled grid, and beside it what was drawn as JSON.
    """
    from pipelines.early import require_model_name

    require_model_name(before)
    require_model_name(after)

    from erasure.errors import ConfigError
    from erasure.storage.files import atomic
    from pipelines.configs.settings import drawing_defaults, parse_seeds
    from pipelines.data.prompt_checks import warn_of_prompts
    from pipelines.drawing.own_guidance import tell_guidance
    from pipelines.process.progress import Reporter
    from pipelines.run.comparing import compare as draw_comparison
    from pipelines.run.memory import enough_memory, of_drawing
    from pipelines.run.model_facts import tell_model
    from pipelines.run.models import config_for, is_canvas, open_model, pick_device
    from prompts.errors import PromptError
    from prompts.files import read_prompts

    texts = tuple(prompt or ()) + (read_prompts(prompts) if prompts else ())
    if not texts:
        raise PromptError("there is no prompt; give --prompt TEXT or --prompts FILE")
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out is {out}; give a file that ends in .png")
    record = out.with_suffix(".json")
    claim(out, record, pictures)
    refuse_taken([out, record], force=force)
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise ConfigError(f"--pictures {pictures} is a file; give the path of a folder")
    chosen = parse_seeds(seeds)
    where = pick_device(device or "auto")
    config = reading.get("config")
    both = config_for(before, config), config_for(after, config)
    if config and both == (None, None):  # then the first says that it has no use for it
        both = config, None
    one, other = (
        open_model(model, **{**reading, "config": own})
        for model, own in zip((before, after), both, strict=True)
    )
    read_as = {"before": tell_model(one, "before"), "after": tell_model(other, "after")}
    if one.classes is not None:  # numbers and spellings of classes
        texts = tuple(map(one.classes.name, texts))
    for each in (one, other):
        warn_of_prompts("prompts", texts, each)
    marked = list(erased or ())
    if not marked and other.provenance is not None:
        marked = [*other.provenance.concepts]
    options = {"steps": steps, "guidance": guidance, "batch_size": batch_size}
    canvas, family = is_canvas(one), one.architecture
    if guidance is None and not canvas:
        tell_guidance(family)
    drawing = drawing_defaults(
        options, canvas=canvas, labels=one.classes is not None, guidance=family.own_guidance
    )
    less = of_drawing(drawing.batch_size, "batch_size")
    with enough_memory("drawing pictures", less, where):
        comparison = draw_comparison(
            one,
            other,
            texts,
            chosen,
            erased=marked,
            drawing=drawing,
            device=where,
            reporter=Reporter(),
            size=size,
            title=f"{one.name} | {other.name}",
        )
    files = comparison.grid.save(out)
    with atomic(record) as part:
        described = {**comparison.grid.described(out), "models": read_as}
        text = json.dumps(described, indent=2, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")
    if pictures is not None:
        comparison.save_pictures(pictures)
    grid = list(map(str, files))
    say({"grid": grid if as_json else ", ".join(grid), "record": record}, as_json=as_json)
