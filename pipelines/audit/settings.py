"""What one audit is told: a recipe, resolved from a preset, a file and the command line."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from erasure.attacks.forward.prefixes import Prefixes
from erasure.attacks.forward.seeds import Seeds
from erasure.attacks.protocol import OF_TOKENS, Attack
from erasure.attacks.registry import ATTACKS, attack_kind, make_attack
from erasure.errors import ConfigError, way
from erasure.setting_checks import require_counts, require_not_negative
from erasure.storage.tables import build
from pipelines.configs.recipe_files import merge
from pipelines.configs.settings import check_size, check_steps
from pipelines.drawing.guards import Guard
from pipelines.drawing.own_guidance import drawing_of

FORWARD: Final = (
    "words",
    "seeds",
    "prefixes",
    "eta",
    "rounding",
    "pruning",
    "completion",
    "inpainting",
    "add-back",
)
"""Attacks that take no gradient."""
PRESETS: Final = ("quick", "standard", "full")
PUBLISHED: Final = ("base", "patch", "mask")
"""What brings a concept back, or shows where it lay, to whoever has it."""
NOTHING: Final = "nothing"
_QUICK: Final[Mapping[str, Mapping[str, Any]]] = {
    "completion": {"levels": (0.36, 0.52, 0.68)},
    "eta": {"seeds": 24},
}
"""Attack -> settings of the preset `quick` that are not the attack's own."""
_CONTROLS: Final = {"seeds": Seeds().draws, "prefixes": Prefixes().draws}
"""The attacks that show what a search would find by drawing often -> their fewest pictures."""
_DRAWS: Final = {"quick": 96, "standard": 144, "full": 240}
"""Pictures of an attack on a model."""
_CANVAS: Final = {"steps": 25, "guidance": 2.5, "batch_size": 48}
"""How the canvas is drawn, as in its evaluation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRecipe:
    """All settings of one audit; equal recipes give equal results."""

    model: str
    """The model to audit: a hub id, a folder, a file, or the folder of a run."""
    concept: str
    """What was erased."""
    against: str | None = None
    """The model before the erasure, the positive control of every attack."""
    retrained: tuple[str, ...] = ()
    """A model that was trained without the concept, the floor of every attack."""
    kept: tuple[str, ...] = ()
    """A concept that was kept, attacked in the same way."""
    attacks: tuple[str, ...] = ("quick",)
    """quick, standard, full, or names of attacks with commas."""
    budget: int | None = None
    """Most pictures of an attack on a model; the preset's own if none, 0 for plain pictures."""
    passes: int | None = None
    """Most network passes of an attack's search; what the attack asks for if none."""
    cases: int = 30
    """Plain prompts and seeds to attack, in turn."""
    confirm: int = 30
    """Pictures by fresh seeds that confirm the strongest of an attack's finds."""
    pictures: str | None = None
    """Folder of pictures of the concept; drawn by the base if none."""
    trained: str | None = None
    """Folder of pictures of the concept that the base was trained on, for the distances to two
    retrained models."""
    damage: Literal["none", "small", "standard", "full"] | None = None
    """How much is drawn to see what else was lost; what goes with the attacks if none."""
    shown: int = 8
    """Pictures of the concept that the attacks see; as many are held back."""
    without: int = 60
    """Pictures without the concept that bound the judge's false positives."""
    wordings: tuple[str, ...] = ()
    """A table of further wordings with a column prompt, such as a published one in your copy."""
    judge: str | None = None
    """The judge, as of erase: a name, a folder or a hub id; the canvas has its own."""
    labels: str | None = None
    """Labels of a judge that is a model: a file, or a list with commas."""
    published: tuple[str, ...] = ()
    """What is published beside the model: base, patch and mask with commas, or nothing. Audit, card
    and record say it; without it they say that it is not known."""
    settings: tuple[str, ...] = ()
    """A setting of an attack, such as words.seeds=5 or completion.levels=[0.2,0.5]."""
    seed: int = 0
    """Seed of everything that is drawn by chance."""
    steps: int = 50
    """DDIM steps of a drawing."""
    guidance: float = 7.5
    """Guidance of a drawing."""
    size: int | None = None
    """Pixels a side; the model's own if none."""
    guard: Literal["prompt-filter"] | None = None
    """What keeps the concept out of the audited model's drawings and changes no weight; the base is
    drawn without it, and may then be the same model."""
    guard_text: str | None = None
    """The words that the guard keeps out; what was erased if none is given."""
    batch_size: int = 16
    """Pictures drawn at a time."""
    stream: bool = False
    """Keep the network's blocks in main memory while they do not compute; no bit changes, and the
    attacks that tune a copy are left out."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it computes; auto takes the best device there is."""
    config: str | None = None
    """For a single file: a diffusers folder with its configs and tokenizer."""
    vae: str | None = None
    """A file or folder with a VAE, in the place of the models' or where they have none."""
    text_encoders: tuple[str, ...] | None = None
    """A file of a text encoder that a single file lacks, as ComfyUI's split sets have them;
    `text_encoder_2=FILE` where names and sizes leave open which it is."""
    prediction: Literal["epsilon", "v"] | None = None
    """What the models predict, where they do not say it themselves."""
    allow_pickle: bool = False
    """Also read .ckpt, .pt and .bin, weights only."""

    def __post_init__(self) -> None:
        require_counts(self, "cases", "confirm", "shown", "without", "batch_size")
        for name in ("budget", "passes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                plain = ", 0 for plain pictures alone" if name == "budget" else ""
                raise ConfigError(f"{name} is {value}; give 0 or more{plain}")
        require_not_negative(self, "seed")
        check_steps(self.steps)
        check_size(self.size)
        self._check_guard()
        self._check_published()
        self._check_trained()
        self.chosen()

    def _check_guard(self) -> None:
        if self.guard is None:
            if self.guard_text is not None:
                raise ConfigError("guard_text would not be read, as there is no guard; name one")
            return
        if Guard(self.guard, "any").leads:
            raise ConfigError(
                f"the guard {self.guard} works through guidance, which some attacks do without; "
                "give prompt-filter, or draw with this guard by `erasure evaluate`"
            )
        if self.against is None:
            raise ConfigError(
                f"the guard {self.guard} is given without a base, and what it keeps out can then "
                "be drawn by no model; give --against, which may be the same model"
            )

    def _check_published(self) -> None:
        for name in self.published:
            if name not in (*PUBLISHED, NOTHING):
                raise ConfigError(
                    f"published names {name!r}; give {', '.join(PUBLISHED)}, or {NOTHING}"
                )
        if NOTHING in self.published and len(self.published) > 1:
            raise ConfigError(f"published says {NOTHING} and more; give one or the other")

    def _check_trained(self) -> None:
        measured = self.against is not None and len(self.retrained) > 1 and self.guard is None
        if self.trained is not None and not (measured and self.pictures is not None):
            raise ConfigError(
                way("trained"),
                " would not be read: it is held against ",
                way("pictures"),
                " that the base was not trained on, by distances to two models given by ",
                way("retrained"),
                ", with a base and without a guard; give these, or leave it out",
            )

    @property
    def preset(self) -> str:
        """`quick`, `standard` or `full`, of several the largest: of what the attacks themselves
        leave open."""
        named = [name for name in PRESETS if name in self.attacks]
        return named[-1] if named else "quick"

    @property
    def draws(self) -> int:
        """Most pictures of an attack on a model."""
        return _DRAWS[self.preset] if self.budget is None else self.budget

    @property
    def names(self) -> frozenset[str]:
        """Names of the attacks."""
        return frozenset(attack.name for attack in self.chosen())

    def chosen(self) -> tuple[Attack, ...]:
        """The attacks with their settings, in the order of the registry.

        Raises:
            ConfigError: there is no such attack or setting; the nearest is named.
        """
        names: list[str] = []
        for name in self.attacks:
            if name not in PRESETS:
                attack_kind(name)
                names.append(name)
            else:
                names += [n for n in ATTACKS if name != "quick" or n in FORWARD]
        known = [name for name in ATTACKS if name in names]
        if not known:
            raise ConfigError("there is no attack to run; give quick, standard, full or a name")
        own: dict[str, Mapping[str, Any]] = dict(_QUICK) if self.preset == "quick" else {}
        if not OF_TOKENS.isdisjoint(known):  # as often as a search may draw
            own |= {name: {"draws": max(self.draws, few)} for name, few in _CONTROLS.items()}
        settings = _settings(self.settings)
        for name in settings:
            attack_kind(name)
            if name not in known:
                raise ConfigError(
                    f"a setting of {name} is given, which is not among the attacks; add it to "
                    "--attacks, or leave the setting out"
                )
        return tuple(
            make_attack(name, **{**own.get(name, {}), **settings.get(name, {})}) for name in known
        )


def _settings(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`words.seeds=5` -> {"words": {"seeds": 5}}; values are those of TOML, lists become tuples.

    Raises:
        ConfigError: a text is none of these.
    """
    settings: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        attack, dot, name = path.strip().rpartition(".")
        try:
            read = tomllib.loads(f"value = {value}")["value"] if equals and dot else None
        except tomllib.TOMLDecodeError:
            read = None
        if read is None:
            raise ConfigError(
                f"the setting {text!r} is not ATTACK.SETTING=VALUE, such as words.seeds=5; texts "
                "stand in quotes and lists in brackets"
            )
        settings.setdefault(attack, {})[name] = tuple(read) if isinstance(read, list) else read
    return settings


def recipe_for(tables: Mapping[str, Any], under: Mapping[str, Any] | None = None) -> AuditRecipe:
    """The recipe of a command, by whether its model is of the canvas."""
    from pipelines.run.models import find_model, is_canvas_folder

    model = merge(under or {}, tables).get("model")
    canvas = isinstance(model, str) and is_canvas_folder(find_model(model))
    return resolve_audit(tables, under, canvas=canvas)


def resolve_audit(
    tables: Mapping[str, Any], under: Mapping[str, Any] | None = None, *, canvas: bool
) -> AuditRecipe:
    """The whole recipe: how the canvas is drawn, over it a file, and over it what was given.

    Raises:
        ConfigError: as `build`.
    """
    values = merge(under or {}, tables)
    for key in ("attacks", "published"):
        listed = values.get(key)
        if isinstance(listed, list | tuple):
            names = [part.strip() for text in listed for part in str(text).split(",")]
            values[key] = [name for name in names if name]
    from pipelines.run.models import find_model

    drawing = _CANVAS if canvas else drawing_of(values, find_model)
    return build(AuditRecipe, merge(drawing, values))
