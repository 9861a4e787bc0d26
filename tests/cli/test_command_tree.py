"""The command tree as data."""

from __future__ import annotations

import shlex

from dcmkit.cli.command_tree import command_tree
from dcmkit.cli.parser import is_option
from dcmkit.cli.startup import command_names
from dcmkit.settings import LoggingSettings, RequestorSettings

TREE = command_tree()


def find(*path):
    command = TREE
    for word in path:
        command = next(member for member in command.commands if member.path[-1] == word)
    return command


def option(command, flag):
    return next(option for option in command.options if flag in option.flags)


def test_every_command_is_there():
    assert [command.path[0] for command in TREE.commands] == command_names()
    assert {member.path for member in find("config").commands} == {
        ("config", "show"),
        ("config", "check"),
        ("config", "init"),
    }


def test_a_settings_option():
    spec = option(find("echoscu"), "-pdu")
    assert spec.flags == ("-pdu", "--max-pdu")
    assert (spec.metavar, spec.values, spec.choices) == ("BYTES", 1, ())
    assert spec.text.endswith("[4096 to 16777216; default: 262144 bytes]")


def test_choices_flags_and_kinds():
    assert option(find("echoscu"), "-ll").choices[0] == "fatal"
    assert option(find("echoscu"), "-v").values == 0
    assert option(find("config", "show"), "--format").choices == ("table", "json", "jsonl", "csv")
    assert (
        option(find("config", "show"), "--format").text
        == "how to print it [one of table, json, jsonl, csv; default: table]"
    )
    assert option(find("config", "init"), "--output").complete == "file"
    assert option(find("storescp"), "-od").complete == "directory"


def test_operands_settings_and_usage():
    assert find("storescu").operands == ("peer", "file")
    assert find("echoscu").usage == "[OPTIONS] (HOST PORT | @NODE)"
    assert RequestorSettings in find("echoscu").settings
    assert LoggingSettings in find("config", "show").settings


def test_descriptions_are_paragraphs_on_one_line():
    for command in TREE.commands:
        assert command.description, command.path
        assert all("\n" not in paragraph for paragraph in command.description)


def test_examples_use_options_that_exist():
    for command in TREE.commands:
        assert command.examples, command.path
        for text, line in command.examples:
            of_pipe = [shlex.split(part) for part in line.split(" | ")]
            own = ["dcmkit", *command.path]
            words = next((words for words in of_pipe if words[: len(own)] == own), [])
            assert words, line
            assert not text.endswith((".", ":"))
            flags = {
                flag for member in (command, *command.commands) for option in member.options for flag in option.flags
            }
            assert {word for word in words if is_option(word)} <= flags
