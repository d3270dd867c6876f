"""Letters that a font lacks are drawn by another one, or as escapes; never as boxes."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw

from pipelines.drawing.layout import glyphs
from pipelines.drawing.layout.glyphs import WIDE, drawable, escaped, font_for
from pipelines.drawing.layout.lettering import fit, width_of, wrap, write

CAT = "\u732b"
FACE = "\U0001f600\U0001fae0"
OTHER = Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The fonts of this machine: none but what a test adds."""
    fonts: list[Path] = []
    caches = (glyphs._installed, glyphs._fonts, glyphs._warn_once)
    monkeypatch.setattr(glyphs, "findSystemFonts", lambda fontext: list(map(str, fonts)))
    for cache in caches:
        cache.cache_clear()
    yield fonts
    for cache in caches:
        cache.cache_clear()


def only_in(font: Path) -> str:
    """A letter that this font has and `WIDE` has not."""
    known = set(FT2Font(str(WIDE)).get_charmap())
    return chr(min(c for c in FT2Font(str(font)).get_charmap() if c not in known and c > 0x2000))


def drawn(text: str) -> bytes:
    canvas = Image.new("L", (400, 40))
    write(ImageDraw.Draw(canvas), (4, 4), text, 16, colour="white")
    return canvas.tobytes()


def test_letters_without_a_font_are_escaped_with_one_warning(
    installed: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert drawable(f"a {CAT}") == "a \\u732b"
    assert drawable(f"\u0436 {FACE[1]}") == "\u0436 \\U0001fae0"
    assert escaped(f"a {CAT}") == "a \\u732b"
    assert len(caplog.messages) == 1
    assert "install a font" in caplog.messages[0]
    assert drawn(f"a {CAT}") == drawn("a \\u732b")
    assert drawn(f"a {CAT}") != drawn("a \u72ac")  # two boxes would be one
    assert width_of(CAT, 16) == width_of("\\u732b", 16)
    assert fit(CAT, 16, 400) == "\\u732b"
    assert wrap(f"{CAT} {CAT}", 16, width_of(CAT, 16), 2) == ["\\u732b"] * 2


def test_a_font_of_this_machine_that_has_all_letters_is_taken(
    installed: list[Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    letter = only_in(OTHER)
    broken = tmp_path / "a-broken.ttf"
    broken.write_bytes(b"no font")
    installed += [broken, OTHER]
    text = f"a {letter}"
    assert font_for(text) == OTHER
    assert drawable(text) == text
    assert drawn(text) != drawn(f"a {letter.encode('unicode_escape').decode()}")
    assert escaped(text) == f"a {letter.encode('unicode_escape').decode()}"  # charts have one font
    assert drawable(f"{letter} {CAT}") == f"{escaped(letter)} \\u732b"  # none has both
    assert len(caplog.messages) == 1


def test_plain_and_alphabetic_text_needs_no_other_font(
    installed: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("a church", "\u0446\u0435\u0440\u043a\u043e\u0432\u044c", "\u00e9glise \u2026"):
        assert drawable(text) == escaped(text) == text
    assert not caplog.messages
