"""Pictures in a terminal: kitty's graphics protocol, sixels, or half blocks in 24-bit colours."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmkit.pixels.pictures import PNG, dithered, encode_rendered, palette
from dcmkit.pixels.raster import colored, fitted, scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

KITTY, SIXEL, BLOCKS = "kitty", "sixel", "blocks"
PROTOCOLS = (KITTY, SIXEL, BLOCKS)
_CHUNK = 4096
_KITTY_PROGRAMS = frozenset({"kitty", "ghostty", "WezTerm"})
_SIXEL_PROGRAMS = frozenset({"mlterm", "contour", "iTerm.app", "rio"})
_SIXEL_TERMS = ("foot", "mlterm", "yaft", "contour")


def protocol_of(environ: Mapping[str, str]) -> str:
    """What the terminal that an environment describes can show; half blocks where it does not say."""
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if environ.get("TMUX") or term.startswith("screen"):  # these do not pass pictures on
        return BLOCKS
    if environ.get("KITTY_WINDOW_ID") or "kitty" in term or "ghostty" in term or program in _KITTY_PROGRAMS:
        return KITTY
    if "sixel" in term or term.startswith(_SIXEL_TERMS) or program in _SIXEL_PROGRAMS:
        return SIXEL
    return BLOCKS


def preview(picture: Array, protocol: str, columns: int, lines: int, cell: tuple[int, int] = (8, 16)) -> str:
    """What to write to a terminal so that it shows a picture, with a line end after it.

    Args:
        picture: 8 bits, grey or colour.
        protocol: one of `PROTOCOLS`.
        columns, lines: what there is room for, in characters.
        cell: width and height of a character, in pixels.
    """
    height, width = (2 * lines, columns) if protocol == BLOCKS else (lines * cell[1], columns * cell[0])
    rows, across = fitted(picture.shape[0], picture.shape[1], height, width)
    if protocol == BLOCKS or (rows, across) < picture.shape[:2]:
        picture = scale(picture, rows, across)
    if protocol == KITTY:
        return _kitty(picture)
    return _sixel(picture) if protocol == SIXEL else _half_blocks(picture)


def _kitty(picture: Array) -> str:
    """A PNG in pieces of base64."""
    data = base64.standard_b64encode(encode_rendered(picture, PNG)).decode("ascii")
    pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    parts = []
    for number, piece in enumerate(pieces):
        keys = "a=T,f=100,q=2," if number == 0 else ""
        parts.append(f"\x1b_G{keys}m={int(number < len(pieces) - 1)};{piece}\x1b\\")
    return "".join(parts) + "\n"


def _sixel(picture: Array) -> str:
    """Six rows at a time, each colour in them once."""
    is_color = picture.ndim == 3
    index = dithered(picture) if is_color else picture >> 2
    levels = palette(True)[:252] if is_color else np.repeat(np.rint(np.linspace(0, 255, 64))[:, None], 3, axis=1)
    rows, columns = index.shape
    parts = [f'\x1bP0;1;0q"1;1;{columns};{rows}']
    for number, level in enumerate(levels.tolist()):
        parts.append(f"#{number};2;" + ";".join(str(round(value * 100 / 255)) for value in level))
    weights = (1 << np.arange(6))[:, None]
    for top in range(0, rows, 6):
        band = index[top : top + 6]
        lines = []
        for number in np.unique(band):
            bits = ((band == number) * weights[: len(band)]).sum(axis=0).astype(np.uint8) + 63
            lines.append(f"#{number}{_runs(bits)}")
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\\n"


def _runs(characters: Array) -> str:
    """Sixels with repetitions shortened."""
    edges = np.flatnonzero(np.diff(characters)) + 1
    starts = np.concatenate([[0], edges])
    lengths = np.diff(np.concatenate([starts, [len(characters)]]))
    return "".join(
        f"!{length}{chr(character)}" if length > 3 else chr(character) * int(length)
        for character, length in zip(characters[starts].tolist(), lengths.tolist(), strict=True)
    )


def _half_blocks(picture: Array) -> str:
    """Two pixels in each character: the upper one in its colour, the lower one behind it."""
    wide = colored(picture)
    if len(wide) % 2:
        wide = np.concatenate([wide, np.zeros_like(wide[:1])])
    lines = []
    for upper, lower in zip(wide[::2].tolist(), wide[1::2].tolist(), strict=True):
        before = None
        cells = []
        for pair in zip(upper, lower, strict=True):
            if pair != before:
                (r, g, b), (s, h, c) = pair
                cells.append(f"\x1b[38;2;{r};{g};{b};48;2;{s};{h};{c}m")
                before = pair
            cells.append("▀")
        lines.append("".join(cells) + "\x1b[0m\n")
    return "".join(lines)
