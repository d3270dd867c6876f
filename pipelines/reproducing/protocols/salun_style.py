"""SalUn's forgetting of styles, as UnlearnCanvas measured it: its 50 styles alone."""

from typing import Final

from pipelines.reproducing.protocol import Protocol
from pipelines.reproducing.protocols.unlearncanvas import (
    DIFFERS,
    EPOCHS,
    ERASE,
    EVALUATE,
    JUDGING,
    MODEL,
    NOT_MADE,
    PIXELS,
    STYLE_TASKS,
    published,
    stand_in,
)

PROTOCOL: Final = Protocol(
    name="salun-style",
    title="SalUn on the 50 styles of UnlearnCanvas",
    model=MODEL,
    family="sd1",
    size=PIXELS,
    tasks=STYLE_TASKS,
    epochs=EPOCHS,
    erase=ERASE,
    evaluate=EVALUATE,
    judging=JUDGING,
    pictures="unlearncanvas",
    published=published("style"),
    differs=(
        "no protocol of SalUn's own paper for styles is known here: its published figures of "
        "styles are those of UnlearnCanvas (arXiv:2402.11846), whose protocol this is",
        *DIFFERS,
    ),
    not_made=NOT_MADE,
    stand_in=stand_in("style"),
    words="unlearncanvas",
)
