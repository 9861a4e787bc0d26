"""AE titles and move destinations of a TOML configuration."""

from __future__ import annotations

import pytest

from dcmkit.cli.configuration import Configuration
from dcmkit.cli.served import destinations_of, served_of
from dcmkit.errors import UsageError
from dcmkit.services.access import ALL, Peer, Rule, rights

TOML = """
[nodes.pacs]
host = "192.0.2.5"
port = 104
called_ae_title = "PACS"

[nodes.VIEWER]
host = "[2001:db8::1]"
port = 11112

[qrscp.ae.ONE]
directory = "/data/one"

[qrscp.ae.TWO]
directory = "/data/two"
access = ["query", "retrieve"]
max_studies = 5
max_size = "10g"
max_study_size = 1000
peers = ["@pacs", "CT1", { ae_title = "MR1", host = "192.0.2.7", access = "W" }, { access = "R" }]
"""


def configuration(tmp_path, text=TOML) -> Configuration:
    path = tmp_path / "config.toml"
    path.write_text(text)
    found = Configuration()
    found.read(str(path))
    return found


def read(tmp_path, text=TOML):
    found = configuration(tmp_path, text)
    entry = found.sections["qrscp"]["ae"]
    return served_of(entry.value, entry.origin, found)


def test_ae_titles(tmp_path):
    one, two = read(tmp_path)
    assert (one.ae_title, one.directory, one.rights, one.rules) == ("ONE", "/data/one", ALL, (Rule(None, ALL),))
    assert (two.rights, two.max_studies, two.max_size, two.max_study_size) == (rights("R"), 5, 10 << 30, 1000)
    assert two.rules == (
        Rule((Peer("PACS", "192.0.2.5", 104),), ALL),
        Rule((Peer("CT1"),), ALL),
        Rule((Peer("MR1", "192.0.2.7"),), rights("W")),
        Rule(None, rights("R")),
    )


@pytest.mark.parametrize(
    "line",
    [
        'directory = ""',
        "directory = 1",
        'directory = "x"\naccess = "X"',
        'directory = "x"\naccess = 1',
        'directory = "x"\npeers = "ANY"',
        'directory = "x"\npeers = [1]',
        'directory = "x"\npeers = ["@nobody"]',
        'directory = "x"\npeers = [{ hots = "x" }]',
        'directory = "x"\npeers = [{ ae_title = 1 }]',
        'directory = "x"\nmax_studies = "many"',
        'directory = "x"\nmax_size = "big"',
        'directory = "x"\nacess = "R"',
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, line):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"[qrscp.ae.ONE]\n{line}\n")
    assert "config.toml, [qrscp] ae.ONE: " in str(caught.value)


def test_not_a_section(tmp_path):
    with pytest.raises(UsageError, match=r"ae\.ONE"):
        read(tmp_path, "[qrscp.ae]\nONE = 1\n")
    with pytest.raises(UsageError, match="AE title"):
        read(tmp_path, '[qrscp.ae."A\\\\B"]\ndirectory = "x"\n')


def test_destinations(tmp_path):
    found = destinations_of(configuration(tmp_path), ("PACS=localhost:4242", "NEW=[::1]:105"))
    assert found == {
        "PACS": Peer("PACS", "localhost", 4242),
        "NEW": Peer("NEW", "::1", 105),
        "VIEWER": Peer("VIEWER", "2001:db8::1", 11112),
    }


@pytest.mark.parametrize("text", ["PACS", "PACS=", "PACS=host", "=host:1", "PACS=host:x", "PACS=:1", "A\x1b=h:1"])
def test_destinations_that_are_none(text):
    with pytest.raises(UsageError):
        destinations_of(Configuration(), (text,))


def test_a_node_without_a_usable_title_is_no_destination(tmp_path):
    text = '[nodes."much too long a name"]\nhost = "h"\nport = 1\n'
    assert destinations_of(configuration(tmp_path, text), ()) == {}
    with pytest.raises(UsageError, match="called_ae_title"):
        read(tmp_path, text + '[qrscp.ae.A]\ndirectory = "x"\npeers = ["@much too long a name"]\n')
