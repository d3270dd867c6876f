"""What a guard refused to draw: nothing of the prompt is shown, be it erased or not."""

from collections.abc import Sequence

from pipelines.evaluation.asking import asks_for
from pipelines.evaluation.outcome.results import Results


def refused_of(results: Results) -> list[bool]:
    """Whether a guard refused the prompt of each picture of the model after."""
    return [image.after.state == "refused" for image in results.images]


def refusals_said(results: Results) -> str:
    """A sentence of what was refused; empty where nothing was."""
    refused = refused_of(results)
    if not any(refused):
        return ""
    asking = [asks_for(one.labels, one.prompt, results.erased) for one in results.images]
    of_all = f"{sum(refused)} of {len(refused)} pictures"
    if results.erased and any(asking):
        gone = _count(refused, asking)
        rest = _count(refused, [not asks for asks in asking])
        of_all = f"{gone} pictures that ask for {', '.join(results.erased)}, and {rest} others"
    return (
        f"The guard refused {of_all}: nothing was drawn of these, which count as pictures in which "
        "nothing is recognised."
    )


def _count(refused: Sequence[bool], chosen: Sequence[bool]) -> str:
    """`3 of 5`, of the chosen pictures."""
    return f"{sum(a and b for a, b in zip(refused, chosen, strict=True))} of {sum(chosen)}"
