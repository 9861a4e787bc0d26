"""Pictures for terminals."""

from __future__ import annotations

import base64
import re

import imagecodecs
import numpy as np
import pytest

from dcmkit.pixels import terminal

GREY = np.linspace(0, 255, 20 * 30).astype(np.uint8).reshape(20, 30)
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, "blocks"),
        ({}, "blocks"),
    ],
)
def test_the_environment_says_what_can_be_shown(environ, expected):
    assert terminal.protocol_of(environ) == expected


def test_kitty_gets_the_picture_in_pieces():
    noise = np.random.default_rng(1).integers(0, 256, (200, 200), np.uint8)
    written = terminal.preview(noise, "kitty", 80, 24)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", written)
    assert [keys[-3:] for keys, _ in pieces] == ["m=1"] * (len(pieces) - 1) + ["m=0"]
    assert max(len(data) for _, data in pieces) <= 4096
    decoded = imagecodecs.png_decode(base64.b64decode("".join(data for _, data in pieces)))
    assert np.array_equal(decoded, noise)


@pytest.mark.parametrize("picture", [GREY, COLOR], ids=["grey", "colour"])
def test_half_blocks_fit_and_end_each_line_plain(picture):
    written = terminal.preview(picture, "blocks", 15, 50)
    lines = written.splitlines()
    assert len(lines) == 5
    assert all(line.count("▀") == 15 and line.endswith("\x1b[0m") for line in lines)


@pytest.mark.parametrize("picture", [GREY, COLOR], ids=["grey", "colour"])
def test_sixels_come_back(picture):
    """A small reader of sixels gives the picture, as near as its palette is."""
    written = terminal.preview(picture, "sixel", 80, 24)
    head, body = re.fullmatch(r"\x1bP0;1;0q\"1;1;30;20((?:#\d+;2;[\d;]+)*)(.*)\x1b\\\n", written).groups()
    levels = {int(n): [int(v) for v in rgb.split(";")] for n, rgb in re.findall(r"#(\d+);2;(\d+;\d+;\d+)", head)}
    found = np.zeros((24, 30, 3))
    for number, band in enumerate(body.rstrip("-").split("-")):
        for part in band.split("$"):
            color, runs = re.fullmatch(r"#(\d+)(.*)", part).groups()
            x = 0
            for count, character in re.findall(r"(?:!(\d+))?([?-~])", runs):
                for bit in range(6):
                    if ord(character) - 63 >> bit & 1:
                        found[number * 6 + bit, x : x + int(count or 1)] = levels[int(color)]
                x += int(count or 1)
            assert x == 30
    shown = found[:20] * 2.55
    expected = picture if picture.ndim == 3 else picture[..., None]
    assert abs(shown - expected).max() < (55 if picture.ndim == 3 else 7)
