"""DCMTK's dcmqrscp.cfg: what people have written is read; what cannot be is told with its line."""

from __future__ import annotations

import os

import pytest

from dcmkit.cli.dcmqrscp import looks_like_dcmqrscp, parse_dcmqrscp, read_dcmqrscp
from dcmkit.errors import UsageError
from dcmkit.services.access import Peer, rights

FILE = """
# comment
NetworkTCPPort  = 11112
MaxPDUSize      = 16384
MaxAssociations = 16
UserName        = dcmtk
SpecificCharacterSet = "ISO_IR 192", override, discard
Display = "no"

HostTable BEGIN
  # an indented comment
acme1 = (ACME1, acmehost1, 5678)
acme2 = (ACME2, acmehost2, 5678)
acme  = acme1, acme2
both  = acme, \\
        (OTHER, 192.0.2.1, 104),
        (MORE, 192.0.2.2, 105)
HostTable END

VendorTable BEGIN
"Acme CT Company" = acme
VendorTable END

AETable BEGIN
ACME     /db/acme          RW (9, 1024mb)   acme
READ     "/db/with a blank" R (200, 10gb) ANY
WRITE    /db/w W (1, 512kb) (CT1, cthost, 104), acme1
AETable END
"""


def test_everything_there_is():
    found = parse_dcmqrscp(FILE)
    assert (found.port, found.max_pdu, found.max_associations) == (11112, 16384, 16)
    assert (found.charset, found.override_charset) == ("ISO_IR 192", True)
    acme = (Peer("ACME1", "acmehost1", 5678), Peer("ACME2", "acmehost2", 5678))
    others = (Peer("OTHER", "192.0.2.1", 104), Peer("MORE", "192.0.2.2", 105))
    assert found.hosts == {"acme1": acme[:1], "acme2": acme[1:], "acme": acme, "both": acme + others}
    assert found.vendors == [acme]
    one, two, three = found.served
    assert (one.ae_title, one.directory, one.rights, one.max_studies) == ("ACME", "/db/acme", rights("RW"), 9)
    assert (one.max_study_size, one.rules[0].peers) == (1 << 30, acme)
    assert (two.directory, two.max_study_size, two.rules[0].peers) == ("/db/with a blank", 10 << 30, None)
    assert (three.rights, three.max_study_size) == (rights("W"), 512 << 10)
    assert three.rules[0].peers == (Peer("CT1", "cthost", 104), acme[0])
    assert set(found.destinations()) == {"ACME1", "ACME2", "OTHER", "MORE", "CT1"}


@pytest.mark.skipif(not os.path.isfile("/etc/dcmtk/dcmqrscp.cfg"), reason="DCMTK's example is not installed")
def test_the_example_of_the_distribution():
    found = read_dcmqrscp("/etc/dcmtk/dcmqrscp.cfg")
    assert found.port == 104
    assert looks_like_dcmqrscp("/etc/dcmtk/dcmqrscp.cfg")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("NetworkTCPPort = many", 1, "NetworkTCPPort"),
        ("NetworkTCPPort = 70000", 1, "65535"),
        ("MaxPDUSize 12", 1, "MaxPDUSize"),
        ("\n\nNoSuchThing = 1", 3, "NoSuchThing"),
        ("HostTable BEGIN\na = (A, b)\nHostTable END", 2, "no peer"),
        ("HostTable BEGIN\na = (A, b, x)\nHostTable END", 2, "port"),
        ("HostTable BEGIN\na = (TOO_LONG_A_TITLE_X, b, 1)\nHostTable END", 2, "too long"),
        ("HostTable BEGIN\na = b\nHostTable END", 2, "symbolic name 'b'"),
        ("HostTable BEGIN\na =\nHostTable END", 2, "no peers"),
        ("HostTable BEGIN", 1, "no end"),
        ("HostTable END", 1, "outside"),
        ("HostTable BEGIN\nAETable BEGIN", 2, "inside"),
        ("HostTable", 1, "outside"),
        ("AETable BEGIN\nA /d RW ANY\nAETable END", 2, "AETable"),
        ("AETable BEGIN\nA /d RWX (1, 1mb) ANY\nAETable END", 2, "RWX"),
        ("AETable BEGIN\nA /d RW (1) ANY\nAETable END", 2, "quota"),
        ("AETable BEGIN\nA /d RW (x, 1mb) ANY\nAETable END", 2, "studies"),
        ("AETable BEGIN\nA /d RW (1, 1mb) nobody\nAETable END", 2, "nobody"),
        ("AETable BEGIN\nA /d R (1, 1mb) ANY\nA /e R (1, 1mb) ANY\nAETable END", 3, "twice"),
        ("SpecificCharacterSet =", 1, "no value"),
        ("SpecificCharacterSet = fallback, always", 1, "always"),
        ('HostTable BEGIN\n"open = 1\nHostTable END', 2, "symbolic name"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, line, says):
    with pytest.raises(UsageError) as caught:
        parse_dcmqrscp(text, "x.cfg")
    assert f"x.cfg, line {line}: " in str(caught.value)
    assert says in str(caught.value)
    assert caught.value.hint or "AE title" in caught.value.message


def test_a_missing_file_and_garbage(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_dcmqrscp(str(tmp_path / "none"))
    path = tmp_path / "garbage"
    for data in (os.urandom(2000), b"\0" * 100, b"((((" * 1000, b"\xff\xfe"):
        path.write_bytes(data)
        try:
            read_dcmqrscp(str(path))
        except UsageError:
            pass


def test_toml_is_none_of_these(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[qrscp.ae.A]\ndirectory = "x"\n')
    assert not looks_like_dcmqrscp(str(path))
    path.write_text(FILE)
    assert looks_like_dcmqrscp(str(path))
