"""Manual pages: complete, and valid roff where a formatter is here to say so."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dcmkit.cli.command_tree import command_tree
from dcmkit.cli.man_pages import man_pages
from dcmkit.errors import ExitCode

PAGES = man_pages(command_tree())


def plain(text):
    for escaped, character in (("\\-", "-"), ("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\(ti", "~"), ("\\&", "")):
        text = text.replace(escaped, character)
    return text


def test_one_page_for_each_command():
    tree = command_tree()
    assert set(PAGES) == {"dcmkit.1"} | {f"dcmkit-{command.path[0]}.1" for command in tree.commands}


def test_every_option_and_exit_code_is_in_the_page():
    for command in command_tree().commands:
        page = plain(PAGES[f"dcmkit-{command.path[0]}.1"])
        for member in command.commands or (command,):
            for option in member.options:
                assert all(flag in page for flag in option.flags), option
                assert option.text in page
        assert all(plain(f".B {code.value}\n{code.description}") in page for code in ExitCode)


def test_configuration_keys_and_variables_are_in_the_page():
    page = plain(PAGES["dcmkit-echoscu.1"])
    assert "max_pdu\nenvironment variable DCMKIT_MAX_PDU, option --max-pdu" in page
    assert ".SS [association]" in page


def test_no_date_and_no_path_of_this_machine():
    assert all('"1" "" "dcmkit' in page and "/home/" not in page for page in PAGES.values())


@pytest.mark.parametrize(
    "formatter", [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-man", "-ww", "-Tutf8", "-z"]]
)
def test_formatters_accept_the_pages(formatter, tmp_path):
    if shutil.which(formatter[0]) is None:
        pytest.skip(f"{formatter[0]} is not installed")
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run([*formatter, *sorted(PAGES)], capture_output=True, text=True, cwd=tmp_path)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
    assert lines == []
