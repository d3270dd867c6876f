"""Prompt files of the trainers LECO and sd-scripts: what each prompt is to become."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from prompts.errors import PromptError
from prompts.files import read_prompts
from prompts.nearest import nearest
from prompts.table_file import load_table

Table = Mapping[str, Any]

_MOST_ROWS: Final = 1024
_LARGEST: Final = 1_000_000
"""The largest number of a row."""
_ROWS_GO: Final = "write rows under [[prompts]] in TOML, or as a list in YAML"
_TEXTS: Final = ("target", "positive", "unconditional", "neutral")
_SHARED: Final = ("guidance_scale", "multiplier", "weight")
_IGNORED: Final = (
    "resolution",
    "resolutions",
    "dynamic_resolution",
    "dynamic_crops",
    "batch_size",
)
"""Keys of how a trainer draws, which here the run itself says."""
_ROW: Final = (*_TEXTS, "action", *_SHARED, *_IGNORED)
_LISTS: Final = ("neutrals", "prompt_file", "neutral_prompt_file")
_SLIDER: Final = ("target_class", "positive", "negative", "neutral", *_LISTS, *_SHARED, *_IGNORED)


@dataclass(frozen=True, slots=True)
class TrainerRow:
    """One row: the student's answer to `target` is led from `neutral` along positive less
    unconditional."""

    target: str
    positive: str
    unconditional: str
    neutral: str
    action: Literal["erase", "enhance"]
    guidance: float
    """Length of the way, >= 0."""
    weight: float
    """Weight of the row's loss, > 0."""

    @property
    def strength(self) -> float:
        """The length with its direction: above 0 towards the positive prompt."""
        return self.guidance if self.action == "enhance" else -self.guidance


@dataclass(frozen=True, slots=True)
class TrainerRows:
    """The rows of a file."""

    rows: tuple[TrainerRow, ...]
    notes: tuple[str, ...]
    """What the file says and is not followed, a sentence each."""


def read_rows(path: Path) -> TrainerRows:
    """Read a file of prompts, `.toml`, `.yaml` or `.yml`.

    TOML has rows under `[[prompts]]` with defaults above them, or a slider with its targets; YAML
    has a list of rows, or the same tables. A slider's rows for an adapter's negative strength are
    left out, since weights have none.

    Raises:
        PromptError: the file cannot be read, or holds a key or a value that is not known.

    Source: the reader of sd-scripts' LECO trainer, for keys, defaults and what a slider means.
    """
    data = load_table(path)
    notes: list[str] = []
    try:
        rows = list(_rows(data, path, notes))
    except PromptError as err:
        raise PromptError(f"{path}: {err}") from err
    if not rows:
        raise PromptError(f"{path} has no row for weights; {_ROWS_GO}")
    if len(rows) > _MOST_ROWS:
        raise PromptError(f"{path} has {len(rows)} rows; give at most {_MOST_ROWS}")
    return TrainerRows(tuple(rows), tuple(dict.fromkeys(notes)))


def _rows(data: Any, path: Path, notes: list[str]) -> Iterator[TrainerRow]:  # noqa: ANN401
    if isinstance(data, list):
        data = {"prompts": data}
    if not isinstance(data, dict):
        raise PromptError(f"it holds neither rows nor tables; {_ROWS_GO}")
    if "prompts" in data:
        above = {key: value for key, value in data.items() if key != "prompts"}
        _refuse_unknown(above, (*_ROW, *_SLIDER), "above the rows")
        for number, item in enumerate(_items(data["prompts"], "prompts"), 1):
            place = f"row {number}"
            known = _SLIDER if "target_class" in item else _ROW
            yield from _read(_over(above, item, known), known, place, path, notes)
        return
    if "prompts_file" in data:
        named = str(data["prompts_file"])[:60]
        raise PromptError(
            f"it is a trainer's own config, and the prompts lie in the file that its prompts_file "
            f"names, {named!r}; give that file, and the rest by --set"
        )
    slider = data.get("slider", data)
    if not isinstance(slider, dict):
        raise PromptError("slider is no table; write [slider]")
    if "targets" not in slider and not {"target", "target_class"} & slider.keys():
        raise PromptError(f"it has no prompts, target or target_class; {_ROWS_GO}")
    above = {key: value for key, value in slider.items() if key != "targets"}
    alone = "targets" not in slider
    for number, item in enumerate([slider] if alone else _items(slider["targets"], "targets"), 1):
        known = _ROW if "target" in item else _SLIDER
        merged = dict(item) if alone else _over(above, item, known)
        yield from _read(merged, known, f"target {number}", path, notes)


def _items(value: Any, name: str) -> Sequence[Table]:  # noqa: ANN401
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise PromptError(f"{name} is no list of tables; write [[{name}]]")
    return value


def _over(above: Table, item: Table, known: Sequence[str]) -> dict[str, Any]:
    """A row with the defaults that stand above it."""
    own_lists = {key for key in _LISTS if key in item} | ({"neutral"} & item.keys())
    passed_over = set(_LISTS) if own_lists else set()
    return {k: v for k, v in above.items() if k in known and k not in passed_over} | dict(item)


def _read(
    item: Table, known: Sequence[str], place: str, path: Path, notes: list[str]
) -> Iterator[TrainerRow]:
    _refuse_unknown(item, known, place)
    if ignored := [key for key in _IGNORED if key in item]:
        notes.append(
            f"{', '.join(ignored)} of {path.name} {'is' if len(ignored) == 1 else 'are'} not "
            "followed, as the run itself says its size and batch"
        )
    if known is _ROW:
        yield _row(item, place)
    else:
        yield from _slider(item, place, path, notes)


def _row(item: Table, place: str) -> TrainerRow:
    target = _text(item, "target", None, place)
    unconditional = _text(item, "unconditional", "", place)
    action = item.get("action", "erase")
    if action not in ("erase", "enhance"):
        raise PromptError(f"in {place} action is {_said(action)}; give erase or enhance")
    if (multiplier := _number(item, "multiplier", place)) != 1:
        raise PromptError(
            f"in {place} multiplier is {multiplier:g}, the strength of an adapter; weights have "
            "strength 1 alone, so leave it out"
        )
    return TrainerRow(
        target,
        _text(item, "positive", target, place),
        unconditional,
        _text(item, "neutral", unconditional, place),
        action,
        _guidance(item, place),
        _weight(item, place),
    )


def _slider(item: Table, place: str, path: Path, notes: list[str]) -> Iterator[TrainerRow]:
    """The rows of a slider's positive strength; those of its negative one are their mirror."""
    target = _text(item, "target_class", "", place)
    poles = [_text(item, name, "", place).strip() for name in ("positive", "negative")]
    if not any(poles):
        raise PromptError(f"in {place} there is neither positive nor negative; name one")
    if (multiplier := _number(item, "multiplier", place)) != 1:
        raise PromptError(
            f"in {place} multiplier is {multiplier:g}, the strength of an adapter; weights have "
            "strength 1 alone, so leave it out"
        )
    notes.append(
        f"the slider of {path.name} is trained in its positive direction alone, as weights have no "
        "negative strength"
    )
    towards, away = poles
    pairs: list[tuple[str, str, Literal["erase", "enhance"]]]
    if towards and away:
        pairs = [(away, towards, "erase"), (towards, away, "enhance")]
    else:
        pairs = [(towards, "", "enhance")] if towards else [(away, "", "erase")]
    for neutral in _neutrals(item, place, path):
        for positive, unconditional, action in pairs:
            yield TrainerRow(
                target,
                positive,
                unconditional,
                neutral,
                action,
                _guidance(item, place),
                _weight(item, place),
            )


def _neutrals(item: Table, place: str, path: Path) -> tuple[str, ...]:
    prompts: list[str] = []
    listed = item.get("neutrals", [])
    if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
        raise PromptError(f"in {place} neutrals is no list of texts; put each in quotes")
    prompts += listed
    for key in ("neutral_prompt_file", "prompt_file"):
        if key in item:
            name = _text(item, key, None, place)
            if Path(name).name != name or not name.endswith(".txt"):
                raise PromptError(
                    f"in {place} {key} is {name[:60]!r}; give the bare name of a .txt beside it"
                )
            prompts += read_prompts(path.parent / name)
    return tuple(prompts) or (_text(item, "neutral", "", place),)


def _refuse_unknown(item: Table, known: Sequence[str], place: str) -> None:
    for key in item:
        if key not in known:
            raise PromptError(
                f"{str(key)[:40]!r} in {place} is unknown; {nearest(str(key)[:40], known)}"
            )


def _text(item: Table, key: str, default: str | None, place: str) -> str:
    value = item.get(key)
    if value is None:
        if default is None:
            raise PromptError(f"in {place} there is no {key}; name it")
        return default
    if not isinstance(value, str):
        raise PromptError(f"in {place} {key} is {_said(value)}, no text; put it in quotes")
    return " ".join(value.split())


def _number(item: Table, key: str, place: str) -> float:
    value = item.get(key, 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PromptError(f"in {place} {key} is {_said(value)}; give a number")
    if not abs(value) <= _LARGEST:  # NaN is not either
        raise PromptError(
            f"in {place} {key} is {_said(value)}; give a number of at most {_LARGEST:,}"
        )
    return float(value)


def _said(value: object) -> str:
    """A value in a message; a list or a table, which may be endless as text, by its kind."""
    if isinstance(value, list | dict | set | tuple):
        return "a table" if isinstance(value, dict) else "a list"
    return repr(value[:40]) if isinstance(value, str) else str(value)[:40]


def _guidance(item: Table, place: str) -> float:
    guidance = _number(item, "guidance_scale", place)
    if guidance < 0:
        raise PromptError(f"in {place} guidance_scale is {guidance:g}; give 0 or more")
    return guidance


def _weight(item: Table, place: str) -> float:
    weight = _number(item, "weight", place)
    if weight <= 0:
        raise PromptError(f"in {place} weight is {weight:g}; give more than 0")
    return weight
