"""Settings: one declaration, frozen objects, checked values."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from dcmkit import settings as s
from dcmkit.errors import UsageError

CLASSES = [cls for cls in vars(s).values() if isinstance(cls, type) and issubclass(cls, s.Settings) and cls.options]


class Sample(s.Settings):
    """Every kind of option."""

    section = "sample"
    name: str = s.option("x", "-n", help="a name")
    level: str = s.option("low", "--level", choices=("low", "high"), help="a choice")
    count: int = s.option(3, "--count", minimum=1, maximum=10, unit="pieces", help="a whole number")
    ratio: float = s.option(0.5, "--ratio", minimum=0, help="a number")
    loud: bool = s.option(False, "--loud", help="a flag")
    many: tuple[str, ...] = s.option((), "--many", multiple=True, help="a list")
    ae: str = s.option("X", "--title", check=s.ae_title, help="an AE title")
    word: str = s.option("", "--word", secret=True, help="a secret")


class Derived(Sample):
    """More of it, and another default."""

    count: int = s.option(5, "--count", help="replaced")
    further: str = s.option("f", help="configuration only")


def test_defaults_keywords_and_equality():
    assert Sample() == Sample(count=3)
    assert Sample(count=4) != Sample()
    assert hash(Sample(many=("a",))) == hash(Sample(many=("a",)))
    assert Sample() != Derived()
    assert (Sample(name="y").name, Sample().name) == ("y", "x")


def test_inheritance_keeps_the_order_and_the_newest_declaration():
    assert list(Derived.options) == [*Sample.options, "further"]
    assert Derived().count == 5
    assert Sample().count == 3


def test_frozen():
    sample = Sample()
    with pytest.raises(AttributeError, match="frozen"):
        sample.count = 4
    with pytest.raises(AttributeError, match="frozen"):
        del sample.count
    changed = sample.replace(count=4)
    assert (changed.count, sample.count) == (4, 3)


def test_unknown_fields_are_refused():
    with pytest.raises(TypeError, match="no field cuont"):
        Sample(cuont=1)
    with pytest.raises(TypeError, match="no field"):
        Sample().replace(nothing=1)


def test_copies_and_pickles():
    sample = Sample(count=4, many=("a",))
    assert pickle.loads(pickle.dumps(sample)) == copy.deepcopy(sample) == sample


def test_repr_hides_secrets():
    text = repr(Sample(word="hush", name="n"))
    assert "hush" not in text
    assert "word=***" in text
    assert "name='n'" in text


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("name", "", ""),
        ("level", "high", "high"),
        ("count", "7", 7),
        ("count", 7.0, 7),
        ("ae", "  A B ", "A B"),
        ("ae", "SIXTEEN_LETTERS_", "SIXTEEN_LETTERS_"),
        ("ratio", "1e3", 1000.0),
        ("ratio", 2, 2.0),
        ("loud", "Yes", True),
        ("loud", "0", False),
        ("loud", True, True),
        ("many", " a, b ,", ("a", "b")),
        ("many", ["a, b"], ("a, b",)),
        ("many", [], ()),
    ],
)
def test_convert(field, value, expected):
    converted = Sample.options[field].convert(value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", 5, "5 is not a text"),
        ("level", "hihg", "'hihg' is none of low, high (did you mean high?)"),
        ("count", "0", "0 is too small; the smallest is 1 pieces"),
        ("count", 11, "11 is too large; the largest is 10 pieces"),
        ("count", "1.5", "'1.5' is not a whole number"),
        ("count", 1.5, "1.5 is not a whole number"),
        ("count", True, "True is not a number"),
        ("count", "", "'' is not a whole number"),
        ("count", float("inf"), "inf is not a whole number"),
        ("ratio", "nan", "'nan' is not a number"),
        ("ratio", "inf", "'inf' is not a number"),
        ("ratio", "-0.1", "-0.1 is too small; the smallest is 0"),
        ("ratio", [1], "[1] is not a number"),
        ("loud", "perhaps", "'perhaps' is neither true nor false (say true or false)"),
        ("loud", 1, "1 is neither true nor false (say true or false)"),
        ("ae", "  ", "an AE title has at least one character that is no space"),
        ("ae", "SEVENTEEN_LETTERS", "'SEVENTEEN_LETTERS' is too long; an AE title has at most 16 characters"),
        ("ae", "A\\B", r"'A\\B' is not an AE title (only ASCII characters, no backslash)"),
        ("ae", "Ü", "'Ü' is not an AE title (only ASCII characters, no backslash)"),
        ("many", 5, "5 is not a list of texts"),
        ("many", [5], "5 is not a text"),
    ],
)
def test_what_cannot_be_converted(field, value, message):
    with pytest.raises(UsageError) as caught:
        Sample.options[field].convert(value)
    assert str(caught.value) == message


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_declarations_are_sound(cls):
    assert cls.section
    assert cls.title.endswith("options")
    for name, option in cls.options.items():
        assert option.name == name
        assert option.convert(list(option.default) if option.multiple else option.default) == option.default
        assert option.help[0] == option.help[0].lower() or option.help[:2].isupper() or option.help.startswith("AE ")
        assert not option.help.endswith(".")
        assert option.flags, name
        assert option.is_flag or option.metavar, name
        assert option.environment_variable == f"DCMKIT_{name.upper()}"


def test_no_spelling_means_two_things():
    meanings: dict[str, str] = {}
    for cls in CLASSES:
        for option in cls.options.values():
            spellings = [*option.flags, *option.off_flags, *(flag for s in option.shortcuts for flag in s.flags)]
            for flag in spellings:
                assert meanings.setdefault(flag, option.name) == option.name


def test_no_name_means_two_things():
    sections: dict[str, str] = {}
    for cls in CLASSES:
        for name in cls.options:
            assert sections.setdefault(name, cls.section) == cls.section


def test_importing_it_imports_nothing_heavy():
    code = "import sys, dcmkit.settings; print(sorted({'dataclasses', 'inspect', 'difflib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500", 500), ("2k", 2048), (" 3M ", 3 << 20), ("20g", 20 << 30), ("1t", 1 << 40)]
)
def test_sizes(text, size):
    assert s.size_of(s.size_text(text)) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5g", "5kb", "2gk", "\u0661", "9" * 19])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="number of bytes"):
        s.size_text(text)
