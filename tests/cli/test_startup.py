"""Stand-ins for unused modules, and the list of commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcmkit.cli import startup


def python(code: str, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_click_comes_without_inspect_and_platform():
    code = """
import sys
from dcmkit.cli.startup import import_click
import_click()
print(sorted({"inspect", "platform", "ast", "dis", "tokenize"} & set(sys.modules)))
import click.core
click.Option(["--one"], help="  one line")
click.command()(lambda: None)
print("inspect" in sys.modules)
print(click.Option(["--two"], help="first\\n    second").help)
print("inspect" in sys.modules, click.core.inspect.isfunction(len), click.core.inspect.currentframe().f_lineno)
import inspect
print(type(inspect).__name__, inspect.signature(lambda a: a))
"""
    assert python(code).splitlines() == ["[]", "False", "first", "second", "True False 11", "module (a)"]


def test_outside_click_nobody_sees_a_stand_in():
    code = """
import sys
from dcmkit.cli.startup import import_click
import_click()
import inspect, platform
print(type(inspect).__name__, type(platform).__name__, bool(platform.python_version()))
"""
    assert python(code) == "module module True"


def test_stand_in_becomes_the_module_when_used():
    name = "colorsys"
    sys.modules.pop(name, None)
    with startup.deferred(startup.stand_in(name, hsv_to_rgb=lambda: "mine")):
        import colorsys
    assert name not in sys.modules
    assert colorsys.hsv_to_rgb() == "mine"
    assert colorsys.rgb_to_hsv(1, 0, 0) == (0.0, 1.0, 1)
    assert name in sys.modules


def test_stand_in_imports_the_module_even_while_deferred():
    sys.modules.pop("colorsys", None)
    with startup.deferred(startup.stand_in("colorsys")):
        from colorsys import rgb_to_hsv
    assert rgb_to_hsv(1, 0, 0) == (0.0, 1.0, 1)


def test_stand_in_leaves_imported_modules_alone():
    import json

    with startup.deferred(startup.stand_in("json")):
        assert sys.modules["json"] is json
    assert sys.modules["json"] is json


def test_unknown_attribute_is_an_attribute_error():
    sys.modules.pop("colorsys", None)
    with startup.deferred(startup.stand_in("colorsys")):
        import colorsys
    with pytest.raises(AttributeError):
        _ = colorsys.no_such_thing


@pytest.mark.parametrize("doc", ["one line", "  led in", "tab\there", ""])
def test_cleandoc_of_one_line_is_inspects(doc):
    import inspect

    assert startup._cleandoc(doc) == inspect.cleandoc(doc)


def test_every_command_has_a_summary_of_one_line():
    for name in startup.command_names():
        summary = startup.summary(name)
        assert 10 < len(summary) < 90, name
        assert not summary.startswith(("from ", "import ", "#")), name


def test_overview_lists_every_command():
    lines = startup.overview().splitlines()
    for name in startup.command_names():
        assert any(line.startswith(f"  {name} ") for line in lines)


def test_garbage_is_collected_once_the_command_runs():
    code = """
import gc
from dcmkit.cli import startup
gc.disable()
startup.started()
print(gc.isenabled(), gc.get_freeze_count() > 0)
count = gc.get_freeze_count()
startup.started()
print(gc.get_freeze_count() == count)
"""
    assert python(code).split() == ["True", "True", "True"]
