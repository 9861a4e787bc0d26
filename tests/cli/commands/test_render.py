"""dcmkit render: pictures of files, folders, frames; what is refused; DCMTK's way of calling it."""

from __future__ import annotations

import os
import shutil

import click
import imagecodecs
import numpy as np
import pytest
from click.testing import CliRunner
from pydicom.data import get_testdata_file

from dcmkit import cli
from dcmkit.cli import rendering
from dcmkit.cli.commands.render import command
from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.render import Rendering, render

CT, MULTI, PLAN = (get_testdata_file(name) for name in ("CT_small.dcm", "rtdose.dcm", "rtplan.dcm"))
GENERAL = {
    "-h", "--help", "--version", "--arguments", "-q", "--quiet", "-v", "--verbose", "-d", "--debug", "-ll",
    "--log-level", "-lc", "--log-config",
}  # fmt: skip
"""Options of all tools; not of what this one does."""
COLOR, OVERLAY = get_testdata_file("examples_rgb_color.dcm"), get_testdata_file("examples_overlay.dcm")


def run(*args, ok=True):
    result = CliRunner().invoke(group, ["render", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    if ok:
        assert result.exit_code == 0, result.output
    return result


def expected(path=CT, frame=0, **how):
    with ImageFile(path) as image:
        return render(image, frame, Rendering(**how))


def png(path):
    return imagecodecs.png_decode(path.read_bytes())


def test_one_file(tmp_path):
    run(CT, "-o", tmp_path / "a.png", "--window", "40,400")
    assert np.array_equal(png(tmp_path / "a.png"), expected(window=(40, 400)))
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "pgm", "tif"])
def test_the_name_says_the_format(tmp_path, suffix):
    run(CT, COLOR, "-o", tmp_path / "d", "--format", suffix)
    run(CT, "-o", tmp_path / f"a.{suffix}")
    start = (tmp_path / f"a.{suffix}").read_bytes()[:4]
    assert start in {b"\x89PNG", b"\xff\xd8\xff\xe0", b"RIFF", b"GIF8", b"P5\n1", b"II*\0"} or start[:2] == b"BM"
    assert len(os.listdir(tmp_path / "d")) == 2


def test_a_folder_with_files_that_are_no_images(tmp_path):
    source = tmp_path / "in" / "deep"
    source.mkdir(parents=True)
    shutil.copy(CT, source / "ct.dcm")
    shutil.copy(PLAN, source / "plan.dcm")
    (source / "text").write_text("hello")
    result = run(tmp_path / "in", "-o", tmp_path / "out", ok=False)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert os.listdir(tmp_path / "out" / "deep") == ["ct.png"]
    assert "the object has no pixel data" in result.stderr
    assert "text: " in result.stderr
    assert run(PLAN, "-o", tmp_path / "x.png", ok=False).exit_code == ExitCode.NOTHING_DONE
    assert not (tmp_path / "x.png").exists()


def test_frames(tmp_path):
    run(MULTI, "-o", tmp_path / "a.png", "--frame", "2-3")
    assert sorted(os.listdir(tmp_path)) == ["a.2.png", "a.3.png"]
    assert np.array_equal(png(tmp_path / "a.3.png"), expected(MULTI, 2))
    run(MULTI, "-o", tmp_path / "a.gif", "--frame", "all", "--fps", "25")
    assert imagecodecs.gif_decode((tmp_path / "a.gif").read_bytes()).shape[0] == 15
    assert run(MULTI, "-o", tmp_path / "b.png", "--frame", "16", ok=False).exit_code == ExitCode.NOTHING_DONE


def test_a_sheet(tmp_path):
    run(MULTI, CT, "-o", tmp_path / "a.png", "--frame", "1", "--montage", "3x2", "--size", "20x20")
    assert png(tmp_path / "a.png").shape == (40, 60)


def test_geometry(tmp_path):
    run(CT, "-o", tmp_path / "a.png", "--region", "10,20,64,32", "--rotate", "90", "--flip", "vertical")
    assert np.array_equal(png(tmp_path / "a.png"), np.rot90(expected()[20:52, 10:74], -1)[::-1])
    run(CT, "-o", tmp_path / "b.png", "--viewport", "50x60")
    assert png(tmp_path / "b.png").shape == (50, 50)


def test_sixteen_bits(tmp_path):
    run(CT, "-o", tmp_path / "a.png", "--bits", "16")
    assert png(tmp_path / "a.png").dtype == np.uint16


@pytest.mark.parametrize(
    "args",
    [
        (CT, "-o", "a.xyz"),
        (CT, "-o", "a.png", "--window", "40"),
        (CT, "-o", "a.png", "--viewport", "x"),
        (CT, "-o", "a.png", "--quality", "0"),
        (CT, "-o", "a.png", "--montage", "0"),
        (CT, CT, "-o", "-"),
        (CT,),
    ],
)
def test_what_cannot_be(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*args, ok=False)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "error: " in result.stderr
    assert os.listdir(tmp_path) == []


def test_the_image_itself_is_never_overwritten(tmp_path):
    file = tmp_path / "a.png"
    shutil.copy(CT, file)
    before = file.read_bytes()
    assert run(file, "-o", file, ok=False).exit_code == ExitCode.NOTHING_DONE
    assert file.read_bytes() == before


def test_a_preview(tmp_path):
    assert "▀" in run(CT, "--preview", "blocks").stdout
    assert run(CT, "--preview", "kitty").stdout.startswith("\x1b_Ga=T")
    assert run(CT, "--preview", "sixel").stdout.startswith("\x1bP0;1;0q")


def test_nothing_is_written_on_request(tmp_path):
    run(CT, "-o", tmp_path / "a.png", "--no-output")
    assert os.listdir(tmp_path) == []


# --- as DCMTK's tools ---


@pytest.mark.parametrize("name", ["dcmj2pnm", "dcm2img", "dcm2pnm", "dcml2pnm"])
def test_a_link_called_as_dcmtk_calls_it(name, tmp_path, capfdbinary):
    def called(*args):
        with pytest.raises(SystemExit) as left:
            cli.main([f"/usr/bin/{name}", *map(str, args)])
        assert left.value.code == 0

    called(CT, tmp_path / "a.pgm")
    head = b"P5\n128 128\n255\n"
    assert (tmp_path / "a.pgm").read_bytes() == head + expected(voi="none", padding=False).tobytes()
    called("+Wm", "+Pid", OVERLAY)
    written = capfdbinary.readouterr().out
    pixels = expected(OVERLAY, voi="minmax", padding=False, overlays=())
    assert written.startswith(b"P2\n484 300\n255\n")  # in letters on stdout, as DCMTK has it
    assert [int(number) for number in written.split()[4:]] == pixels.ravel().tolist()
    called("+op", "+Wm", "+Pid", OVERLAY)
    assert capfdbinary.readouterr().out == b"P5\n484 300\n255\n" + pixels.tobytes()
    called("+Wm", OVERLAY, tmp_path / "by-its-name.png")
    assert np.array_equal(png(tmp_path / "by-its-name.png"), pixels)
    called("-o", CT)
    assert capfdbinary.readouterr().out == b""
    called("+Fa", "+on", MULTI, tmp_path / "m.png")
    assert (tmp_path / "m.0.png").exists()
    assert (tmp_path / "m.14.png").exists()


@pytest.mark.parametrize(
    ("args", "how"),
    [
        (("+Wi", "1"), {"voi": "preset"}),
        (("+Ww", "40", "400"), {"window": (40, 400)}),
        (("+Ww", "40", "400", "+Wfs"), {"window": (40, 400), "function": "SIGMOID"}),
        (("+Wn",), {"voi": "minmax-inner"}),
        (("+Wh", "5"), {"voi": "percentiles", "percentiles": (5, 95)}),
        (("-W", "-M"), {"voi": "none", "modality": False}),
        (("+P",), {"invert": True}),
        (("+Piv",), {"shape": "INVERSE"}),
        (("+Rl",), {"rotation": 270}),
        (("+Rtd", "+Lhv"), {"rotation": 180, "flip_horizontally": True, "flip_vertically": True}),
        (("+Sxv", "100", "-i"), {"size": (0, 100), "method": "nearest"}),
        (("+Syf", "0.5"), {"factors": (0.5, 0)}),
        (("+O", "1", "+Omc"), {"overlays": (0,), "overlay_mode": "complement"}),
    ],
)
def test_names_of_dcmtk(args, how, tmp_path):
    path = get_testdata_file("examples_overlay.dcm")
    run(path, "-o", tmp_path / "a.png", *args)
    assert np.array_equal(png(tmp_path / "a.png"), expected(path, **how))


@pytest.mark.parametrize("flags", rendering.REFUSED)
def test_what_dcmtk_has_and_render_has_not_is_said_with_a_reason(flags, tmp_path):
    for flag in flags.split():
        result = run(CT, "-o", tmp_path / "a.png", flag, ok=False)
        assert rendering.REFUSED[flags] in result.stderr
        assert result.exit_code == ExitCode.BAD_USAGE


def test_what_changes_nothing_is_taken(tmp_path):
    flags = [flag for flags in rendering.ALWAYS_SO for flag in flags.split()]
    run(CT, "-o", tmp_path / "a.png", *flags)
    assert np.array_equal(png(tmp_path / "a.png"), expected())


def test_every_option_of_dcmj2pnm_is_known():
    with open(os.path.join(os.path.dirname(cli.__file__), "dcmtk_options.txt"), encoding="ascii") as table:
        theirs = {line.split()[0] for line in table if "dcmj2pnm" in line.split()[1:]}
    context = click.Context(command)
    ours = {flag for one in command.get_params(context) for flag in (*one.opts, *one.secondary_opts)}
    assert theirs - ours - GENERAL == set()


def test_forms_of_dcmtk(tmp_path):
    run(CT, "-o", tmp_path / "n.pnm", "+opn", "10")
    head, size, top, *rows = (tmp_path / "n.pnm").read_text().splitlines()
    assert (head, size, top, len(rows)) == ("P2", "128 128", "1023", 128)
    run(CT, "-o", tmp_path / "n.bmp", "+obr")
    assert (tmp_path / "n.bmp").read_bytes()[28] == 32
    run(CT, "-o", tmp_path / "n.jls", "+on2", "+f8", "+ol")
    assert np.array_equal(imagecodecs.jpegls_decode((tmp_path / "n.jls").read_bytes()), expected())
    run(CT, "-o", tmp_path / "n.tif", "+Ph", "+Rs", "7")
    assert np.array_equal(imagecodecs.tiff_decode((tmp_path / "n.tif").read_bytes()), expected())


def test_what_an_image_is(tmp_path):
    result = run("-im", CT)
    assert "columns x rows      : 128 x 128\n" in result.stdout
    assert os.listdir(tmp_path) == []
    result = run("-im", CT, MULTI, "-o", tmp_path / "out", "+Fa")
    assert result.stdout.count("number of frames") == 2
    assert (tmp_path / "out" / "CT_small.png").exists()
    result = run("-im", CT, "-o", "-", "+op")
    assert "filename" in result.stderr
    assert result.stdout_bytes.startswith(b"P5")
