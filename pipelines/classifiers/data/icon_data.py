"""A ten-class colour set from the icon packages of the demo; other designers draw the test half."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.errors import ConfigError
from erasure.storage.cache import TensorCache, content_key
from pipelines.classifiers.data.icon_pictures import draw_pictures
from pipelines.classifiers.data.raw_data import RawData, cache_folder, images
from pipelines.demo_checkpoint.icons import FLUENT_LICENCE, IconSet, rasterise, read_icon_set

CLASSES: Final[Mapping[str, str]] = {
    # Class -> its icons, by the names that all the packages share.
    "beast": "camel cat cow deer dog elephant goat gorilla horse leopard monkey mouse ox pig "
    "poodle rabbit ram rat rhinoceros tiger",
    "bird": "baby-chick bird chicken dove duck eagle front-facing-baby-chick hatching-chick owl "
    "penguin rooster turkey",
    "sea animal": "blowfish crab dolphin fish octopus shark shrimp spouting-whale squid "
    "tropical-fish turtle whale",
    "insect": "ant bug butterfly honeybee lady-beetle scorpion snail spider",
    "plant": "blossom bouquet cactus cherry-blossom deciduous-tree evergreen-tree fallen-leaf "
    "four-leaf-clover herb hibiscus maple-leaf palm-tree rose seedling sunflower tulip",
    "fruit": "avocado banana cherries grapes green-apple kiwi-fruit lemon melon peach pear "
    "pineapple red-apple strawberry tangerine tomato watermelon",
    "car": "ambulance articulated-lorry automobile bus delivery-truck fire-engine minibus "
    "police-car racing-car sport-utility-vehicle taxi tractor trolleybus",
    "ship": "canoe ferry motor-boat passenger-ship sailboat ship speedboat",
    "building": "bank castle church convenience-store department-store factory hospital hotel "
    "house house-with-garden japanese-castle mosque office-building post-office school synagogue",
    "clothes": "bikini dress high-heeled-shoe jeans kimono mans-shoe necktie running-shoe t-shirt "
    "top-hat womans-boot womans-clothes womans-hat womans-sandal",
}
TRAIN_SETS: Final = (
    IconSet("@iconify-json/noto", "1.2.9", "Google Inc", "Apache-2.0"),
    IconSet("@iconify-json/noto-v1", "1.2.5", "Google Inc", "Apache-2.0"),
    IconSet("@iconify-json/fluent-emoji-flat", "1.2.6", *FLUENT_LICENCE),
    IconSet("@iconify-json/fluent-emoji", "1.2.7", *FLUENT_LICENCE),
)
TEST_SETS: Final = (
    IconSet("@iconify-json/twemoji", "1.2.5", "Twitter", "CC-BY-4.0"),
    IconSet("@iconify-json/emojione", "1.2.3", "Emoji One", "CC-BY-4.0"),
)
TRAIN_COUNT: Final = 20_000
TEST_COUNT: Final = 5_000
_DRAWING: Final = 64
"""Pixels a side of a drawing: twice a picture's."""
_VERSION: Final = 1
"""Number of the way in which pictures are made; it is part of the cache key."""


def icons(path: Path | None, /) -> RawData:
    """20,000 and 5,000 pictures of 32x32, ten classes; rendered once, then read from the cache.

    Args:
        path: folder with the npm packages as `.tgz`; fetched with npm into the cache if missing.

    Raises:
        ConfigError: a package is missing and npm cannot get it, or resvg_py is not installed.
    """
    cache = cache_folder()
    folder = path or _packages(cache)
    sets = [[f"{s.package}@{s.version}" for s in half] for half in (TRAIN_SETS, TEST_SETS)]
    key = content_key(
        sets=sets, classes=CLASSES, counts=[TRAIN_COUNT, TEST_COUNT], version=_VERSION
    )
    made = TensorCache(cache).get("icons", key, lambda: _render(folder))
    train, test = (images(made[half], made[f"{half} labels"]) for half in ("train", "test"))
    authors = sorted({f"{s.author}, {s.licence}" for s in (*TRAIN_SETS, *TEST_SETS)})
    return RawData("image", train, test, tuple(CLASSES), f"icons by {'; '.join(authors)}")


def _packages(cache: Path) -> Path:
    """Where the demo's build has put the packages already, else a folder of the cache."""
    built = Path(__file__).parents[3] / "build" / "demo-checkpoint" / "packages"
    return built if built.is_dir() else cache / "packages"


def _render(folder: Path) -> dict[str, Tensor]:
    made = {}
    for half, sets, count in (("train", TRAIN_SETS, TRAIN_COUNT), ("test", TEST_SETS, TEST_COUNT)):
        drawings, labels = load_icons(sets, folder)
        made[half], made[f"{half} labels"] = draw_pictures(drawings, labels, count, "icons", half)
    return made


def load_icons(sets: Sequence[IconSet], folder: Path) -> tuple[Tensor, Tensor]:
    """The icons of `CLASSES` that the sets have: RGBA premultiplied (D, 4, 64, 64), labels (D,)."""
    drawings, labels = [], []
    for one in sets:
        table = read_icon_set(one, folder)
        for label, names in enumerate(CLASSES.values()):
            for name in names.split():
                if name in table:
                    drawing = rasterise(table[name], _DRAWING)
                    drawings.append(torch.cat([drawing[:3] * drawing[3:], drawing[3:]]))
                    labels.append(label)
    missing = sorted(set(range(len(CLASSES))) - set(labels))
    if missing:
        raise ConfigError(
            f"the packages in {folder} have no icon of {list(CLASSES)[missing[0]]!r}; get them anew"
        )
    return torch.stack(drawings), torch.tensor(labels)
