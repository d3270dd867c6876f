"""Draw the word of a concept and of a kept one by several models from one noise, a row a model.

    python benchmarks/figures/side_by_side.py --out docs/retrained_flow.png \\
        "demo-flow=demo-flow" "retrained=build/gold-flow/no-church/model" "SalUn=out/church"
"""

import argparse
from pathlib import Path

import torch

from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import draw_all
from pipelines.drawing.layout.contact_sheet import contact_sheet
from pipelines.drawing.requests import Request
from pipelines.run.models import open_model
from prompts.canvas import OBJECTS, STYLES, canvas_prompt

DRAWING = DrawingConfig(steps=25, guidance=2.5, batch_size=9)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("models", nargs="+", metavar="LABEL=MODEL")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--concept", default="church", choices=OBJECTS)
    parser.add_argument("--kept", default="dog", choices=OBJECTS)
    options = parser.parse_args()
    pairs = [(options.concept, style) for style in STYLES]
    pairs += [(options.kept, style) for style in STYLES[:3]]
    requests = [Request(canvas_prompt(*pair), 0) for pair in pairs]
    labels, models = zip(*(one.split("=", 1) for one in options.models), strict=True)
    rows = [
        list(draw_all(open_model(model), requests, DRAWING, torch.device("cpu")))
        for model in models
    ]
    columns = [f"{thing}, {style}" for thing, style in pairs]
    contact_sheet(rows, labels, columns, max_width=2000).save(options.out)


if __name__ == "__main__":
    main()
