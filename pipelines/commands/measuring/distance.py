"""`erasure distance`: how far is an erased model from one that never saw the concept?"""

from typing import Any

import typer

from pipelines.commands.options import AsJson, Folder, Force, RecipeFile, say
from pipelines.configs.everyday import DISTANCE, DISTANCE_RECIPE
from pipelines.process.recipe_options import BY_SUITE, recipe_options
from pipelines.run.claims import claim
from pipelines.words.terminal import printable


@recipe_options(DISTANCE_RECIPE, DISTANCE, own_after="audit", defaults_but=BY_SUITE)
def distance(
    options: dict[str, Any],
    out: Folder = None,
    recipe: RecipeFile = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Measure the distance to a model that never saw the concept.

    The unit is the distance of two such models from different seeds: at 1 the erased model cannot
    be told from another retrained one. Writes distance.json; docs/distance.md describes it.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.recipe_files import merge, stated_recipe
    from pipelines.early import require_model_name

    if out is None:
        raise ConfigError("there is no --out; give the folder to write the distances to")
    under = stated_recipe(recipe) if recipe else {}
    both = merge(under, options)
    for name in ("model", "retrained", "twin", "base"):
        value = both.get(name)
        if value is None:
            raise ConfigError(
                f"{name if name == 'model' else f'--{name}'} is missing; give the erased model, "
                "--retrained, --twin and --base"
            )
        if isinstance(value, str):
            require_model_name(value)
    claim(out)
    from pipelines.distances.result import FILE_NAME, table_of
    from pipelines.distances.run import run_distances
    from pipelines.distances.settings import recipe_of
    from pipelines.process.progress import Reporter
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    resolved = recipe_of(options, under)
    less = Less(halved("batch_size", resolved.batch_size))
    with enough_memory("measuring", less, pick_device(resolved.device)):
        result = run_distances(resolved, out, force=force, reporter=Reporter())
    if as_json:
        say({**result.to_dict(), "file": out / FILE_NAME}, as_json=True)
        return
    for line in table_of(result):
        typer.echo(printable(line))
    typer.echo(f"written to {out / FILE_NAME}")
