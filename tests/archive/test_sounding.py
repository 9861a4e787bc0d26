"""Names that sound alike, and those that do not."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.archive.matching import condition
from dcmkit.archive.sounding import LETTERS_LIMIT, WORDS_LIMIT, shape, sound, sounds_like
from dcmkit.dataset.values import fold

ALIKE = (
    "Meyer Maier Mayr Meier Mayer Majer",
    "Schmidt Schmitt Schmid Smith Smyth",
    "Müller Mueller Muller",
    "Jon John Johann",
    "Philip Filip Philipp Phillip",
    "Catherine Katherine Kathrine",
    "Katharina Katarina Catarina",
    "Stephan Stefan Stephen Steven",
    "Mohammed Muhammad Mohamed",
    "Alexander Aleksander Alexsander",
    "Braun Brown",
    "Neumann Newman",
    "Kowalski Kovalsky",
    "Piotrowski Piotrovski",
    "Ivanov Iwanow Ivanoff",
    "Elisabeth Elizabeth",
    "Fischer Fisher",
    "Voigt Vogt Fogt",
    "Viktor Victor Wiktor",
    "Christoph Kristof",
    "Michael Mikael Michel",
    "Dominique Dominik",
    "Günther Guenther Gunter",
    "Schulz Schultz Schulze",
    "Franz Frans Frantz",
    "Jürgen Juergen Yurgen",
    "Yusuf Josef Joseph",
    "Sophia Sofia Zofia",
    "Marie Mary Mari",
    "Nicolas Nikolaus Nicholas",
    "Tanja Tania Tanya",
    "Schäfer Schaefer",
    "Jakob Jacob Jakub",
    "Max Maks",
    "Erik Eric Erich",
    "O'Brien OBrien O’Brian",
)
UNLIKE = (
    "Müller Miller Mahler",
    "Meyer Müller Mohr",
    "Maria Mario Marie",
    "Anna Hanna Anne",
    "Peter Petra",
    "Martin Martina",
    "Bauer Power Brauer",
    "Fischer Wischer",
    "Lea Leo Lee",
    "Hans Heinz",
)


@pytest.mark.parametrize("names", ALIKE)
def test_names_that_sound_alike(names: str):
    assert len({sound(fold(name)) for name in names.split()}) == 1
    for one, other in combinations(map(fold, names.split()), 2):
        assert sounds_like(one, f"x^{other}")
        assert sounds_like(other, f"{one} x")


@pytest.mark.parametrize("names", UNLIKE)
def test_names_that_do_not(names: str):
    sounds = [sound(fold(name)) for name in names.split()]
    assert len(set(sounds)) == len(sounds)


@pytest.mark.parametrize(
    "word", ["", "li", "jo", "山田", "ivanó", "иванов", "smi7h", "yyy", "o'b", "a" * (LETTERS_LIMIT + 1)]
)
def test_what_has_no_sound(word: str):
    assert sound(word) == shape(word) == ""
    assert not sounds_like(word, word)


def test_words_of_a_name():
    name = fold("Mayer-Schmitt^Jon Filip=山田^太郎\\Nováková,Eva")
    for word in ("meier", "schmidt", "maierschmidt", "john", "phillip", "novakova", "ewa"):
        assert sounds_like(word, name), word
    assert not sounds_like("miller", name)
    assert not sounds_like("meier", None)
    assert not sounds_like("meier", "")


# --- properties ---

LETTERS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)
PIECES = st.sampled_from([
    "sch", "sh", "tsch", "tch", "ch", "ck", "cz", "tz", "ts", "dt", "th", "ph", "x", "qu", "gu", "ei", "ay", "au", "ow",
    "ie", "j", "y", "w", "v", "h", "s", "m", "r", "n", "l", "e", "a", "o", "-", "'",
])  # fmt: skip
WORDS = LETTERS | st.lists(PIECES, min_size=1, max_size=6).map("".join)
NAMES = st.lists(WORDS | st.text(max_size=6).map(fold), min_size=1, max_size=4).map("^".join)


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA case_sensitive_like = ON")
    connection.create_function("sounds_like", -1, sounds_like)
    yield connection
    connection.close()


def found(database: sqlite3.Connection, name: str, value: str) -> bool:
    matching = condition("x", "PN", value, fuzzy=True)
    if matching is None:
        return True
    asked = f"SELECT 1 FROM (SELECT ? AS x) WHERE {matching.sql}"
    return database.execute(asked, (name, *matching.parameters)).fetchone() is not None


@given(WORDS)
def test_a_word_sounds_like_itself_and_its_shape_fits_it(database: sqlite3.Connection, word: str):
    if sound(word):
        assert sounds_like(word, word)
        assert database.execute("SELECT ' ' || ? GLOB ?", (word, shape(word))).fetchone() == (1,)


@given(WORDS, WORDS)
def test_what_sounds_alike_does_so_both_ways_and_has_one_shape(database: sqlite3.Connection, one: str, other: str):
    if "-" not in one + other:
        assert sounds_like(one, other) is sounds_like(other, one)
    if sound(one) == sound(other):
        assert shape(one) == shape(other)


@given(NAMES, WORDS)
def test_the_database_finds_what_sounds_alike(database: sqlite3.Connection, name: str, word: str):
    if "-" not in word and sounds_like(word, fold(name)):
        assert found(database, fold(name), word)


@given(NAMES.map(fold).filter(bool), st.data())
def test_what_matches_by_letters_matches(database: sqlite3.Connection, name: str, data: st.DataObject):
    words = [word for word in re.split(r"[\s^=\\]+", name) if word and not set(word) & set(",*?\0")]
    if words and "\0" not in name:
        asked = data.draw(st.permutations([word[: data.draw(st.integers(1, len(word)))] for word in words]))
        assert found(database, name, " ".join(asked))


@given(st.text(max_size=30), st.text(max_size=60))
def test_any_text_has_an_answer(database: sqlite3.Connection, value: str, name: str):
    found(database, fold(name).replace("\0", ""), value.replace("\0", ""))


# --- hostile ---


def test_long_names_cost_little(database: sqlite3.Connection):
    started = time.process_time()
    for name in ("m" * 100000, "m-" * 50000, "ma^" * 50000, "mai " * 50000, "'" * 100000, "dt" * 64, "h" * 64):
        assert not found(database, name, " ".join(f"Ma{letter}er" for letter in "bcdfghijklmnpqrstvwxz"))
        assert not found(database, name, "mamamamamamamamamamamamamamamamamamamamamamamamamamamamamamar")
        sound(name)
    assert time.process_time() - started < 2


def test_so_many_words_are_listened_to():
    assert sounds_like("meyer", "x^" * (WORDS_LIMIT - 1) + "maier")
    assert not sounds_like("meyer", "x^" * WORDS_LIMIT + "maier")
