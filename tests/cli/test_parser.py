"""DCMTK's argument style: names matched whole, any order, @file."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.cli import parser as p
from dcmkit.errors import UsageError


def parse(args, *params, tool="storescu"):
    command = click.Command(tool, params=list(params))
    ctx = click.Context(command, info_name=tool, parent=click.Context(click.Group("dcmkit"), info_name="dcmkit"))
    parser = p.ArgumentParser(ctx)
    for param in params:
        param.add_to_parser(parser, ctx)
    opts, _, _ = parser.parse_args(args)
    return opts


AET = click.Option(["aet", "-aet", "--aetitle"])
KEY = click.Option(["key", "-k", "--key"], multiple=True)
FLAG = click.Option(["prefer", "+x=", "--prefer-uncompr"], is_flag=True)
PAIR = click.Option(["pair", "+tt"], nargs=2)
COUNT = click.Option(["loud", "-l"], count=True)
ONE = click.Argument(["one"])
MANY = click.Argument(["many"], nargs=-1)
LAST = click.Argument(["last"])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-aet", "A", "x"], {"aet": "A", "one": "x"}),
        (["x", "-aet", "A"], {"aet": "A", "one": "x"}),
        (["x", "--aetitle", "-5"], {"aet": "-5", "one": "x"}),
        (["--aetitle=A=B", "x"], {"aet": "A=B", "one": "x"}),
        (["-aet", "-k", "x"], {"aet": "-k", "one": "x"}),
        (["x", "-k", "a=1", "-k", "b"], {"key": ["a=1", "b"], "one": "x"}),
        (["+x=", "x"], {"prefer": True, "one": "x"}),
        (["+tt", "a", "b", "x"], {"pair": ("a", "b"), "one": "x"}),
        (["x", "a", "-5", "-", "+1"], {"one": "x", "many": ("a", "-5", "-", "+1")}),
        (["x", "--", "-aet"], {"one": "x", "many": ("-aet",)}),
        (["-l", "-l", "x"], {"loud": 2, "one": "x"}),
        ([], {}),
    ],
)
def test_arguments_in_any_order(args, expected):
    assert parse(args, AET, KEY, FLAG, PAIR, COUNT, ONE, MANY) == expected


def test_operands_after_the_many_get_theirs():
    assert parse(["a", "b", "c", "d"], ONE, MANY, LAST) == {"one": "a", "many": ("b", "c"), "last": "d"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-aex", "A"], "no such option: -aex (did you mean -aet?)"),
        (["--aetitel", "A"], "no such option: --aetitel (did you mean --aetitle?)"),
        (["-aet"], "option -aet needs a value"),
        (["+tt", "a"], "option +tt needs 2 values"),
        (["--prefer-uncompr=1"], "option --prefer-uncompr takes no value"),
        (["x", "y"], "unexpected argument 'y'"),
        (["+tls", "a", "b"], "option +tls is DCMTK's; dcmkit storescu does not have it yet"),
        (["--propose-j2k-lossless"], "option --propose-j2k-lossless is DCMTK's"),
        (["--no-idea-what"], "no such option: --no-idea-what (dcmkit storescu --help lists the options)"),
    ],
)
def test_errors_say_what_to_do(args, message):
    with pytest.raises(UsageError) as caught:
        parse(args, AET, FLAG, PAIR, ONE)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("arg", ["-a", "+sd", "--x", "-aet", "+x="])
def test_is_option(arg):
    assert p.is_option(arg)


@pytest.mark.parametrize("arg", ["-", "+", "-5", "+3.2", "x", "", "@file"])
def test_is_operand(arg):
    assert not p.is_option(arg)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-aet ME\n host\t104\r\n", ["-aet", "ME", "host", "104"]),
        ('-k "PatientName=DOE JOHN" \'a "b" c\'', ["-k", "PatientName=DOE JOHN", 'a "b" c']),
        ("a\"b c\"d ''", ["ab cd", ""]),
        ("C:\\path\\file", ["C:\\path\\file"]),
        ('"open', ["open"]),
        ("", []),
    ],
)
def test_words_of_an_argument_file(text, expected):
    assert p.words(text) == expected


@given(st.lists(st.text(alphabet=st.characters(exclude_characters='"', codec="utf-8"))))
def test_quoted_words_come_back(words):
    assert p.words(" ".join(f'"{word}"' for word in words)) == words


def test_expand(tmp_path):
    listed = tmp_path / "args"
    listed.write_text("a 'b c' @other")
    args = ["x", f"@{listed}", "@pacs", "@", "--", f"@{listed}"]
    assert p.expand(args, lambda name: name == "pacs") == ["x", "a", "b c", "@other", "@pacs", "@", "--", f"@{listed}"]


def test_a_node_wins_over_a_file_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pacs").write_text("a b")
    assert p.expand(["@pacs"], lambda name: True) == ["@pacs"]
    assert p.expand(["@pacs"], lambda name: False) == ["a", "b"]


def test_neither_node_nor_file(tmp_path):
    with pytest.raises(UsageError, match="no node 'pacs' is configured and there is no such file"):
        p.expand(["@pacs"], lambda name: False)
    with pytest.raises(UsageError, match="cannot be read"):
        p.expand([f"@{tmp_path}"], lambda name: False)


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["a", "--config", "f"], "f"),
        (["--config=f", "a"], "f"),
        (["--config", "e", "--config", "f"], "f"),
        (["--", "--config", "f"], None),
        (["--config"], None),
        ([], None),
    ],
)
def test_option_value(args, value):
    assert p.option_value(args, "--config") == value
