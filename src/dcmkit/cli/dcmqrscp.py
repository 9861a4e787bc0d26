"""DCMTK's dcmqrscp configuration file, read as it is.

    NetworkTCPPort = 11112
    HostTable BEGIN
    acme1  = (ACME1, acmehost1, 5678)
    acme   = acme1, (ACME2, acmehost2, 5678)
    HostTable END
    VendorTable BEGIN
    "Acme" = acme
    VendorTable END
    AETable BEGIN
    ARCHIVE  /data/archive  RW  (200, 1024mb)  acme
    AETable END

Between words stand blanks, `=` or commas; quotation marks and parentheses hold a word together. A line goes on where
it ends in a backslash or a comma. Lines that begin with `#` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dcmkit.errors import UsageError
from dcmkit.services.access import Peer, Rights, Rule, Served, rights
from dcmkit.settings import ae_title

_WORD = re.compile(r"""[\s=,]*(?:"([^"]*)"|'([^']*)'|\(([^()]*)\)|([^\s=,"'()]+))""")
_SIZE = re.compile(r"(\d+)\s*(kb|mb|gb|k|m|g|b)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TABLES = ("HostTable", "VendorTable", "AETable")
_IGNORED = frozenset({
    "ApplicationTitle", "ApplicationContext", "ImplementationClass", "ImplementationVersion", "NetworkType", "UserName",
    "GroupName", "Display", "DisplayPort",
})  # fmt: skip
_ALONE = frozenset({"NetworkTCPPort", "MaxPDUSize", "MaxAssociations"})
_CHARSET_WORDS = ("override", "discard", "transliterate")


class Line(NamedTuple):
    """A line with its continuations, its number, and its words; `grouped` are those in parentheses."""

    number: int
    words: list[str]
    grouped: set[int]


class QRConfiguration:
    """What the file says.

    Attributes:
        port, max_pdu, max_associations: 0 where the file does not say.
        charset: Specific Character Set of answers, "" for that of the request.
        override_charset: use it whatever the request says.
        hosts: symbolic name to peers.
        vendors: peers that belong together.
        served: the AE titles.
    """

    def __init__(self) -> None:
        self.port = self.max_pdu = self.max_associations = 0
        self.charset = ""
        self.override_charset = False
        self.hosts: dict[str, tuple[Peer, ...]] = {}
        self.vendors: list[tuple[Peer, ...]] = []
        self.served: list[Served] = []

    def destinations(self) -> dict[str, Peer]:
        """Every peer of the tables that can be sent to, by AE title; the first one counts."""
        found: dict[str, Peer] = {}
        peers = [peer for group in self.hosts.values() for peer in group]
        peers += [p for served in self.served for rule in served.rules if rule.peers is not None for p in rule.peers]
        for peer in peers:
            found.setdefault(peer.ae_title, peer)
        return found


def looks_like_dcmqrscp(path: str) -> bool:
    """Whether a file is one of these and no TOML, which has tables in brackets. Raises: UsageError."""
    return any(
        line.split()[1:2] == ["BEGIN"] or line.split()[0] in _ALONE for line in _read(path).splitlines() if line.split()
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"configuration file {path} cannot be read: {error.strerror}") from None


def read_dcmqrscp(path: str) -> QRConfiguration:
    """Read a configuration file.

    Raises:
        UsageError: it cannot be read, or a line is not what it should be; the message names file and line.
    """
    return parse_dcmqrscp(_read(path), path)


def parse_dcmqrscp(text: str, path: str = "configuration") -> QRConfiguration:
    """As `read_dcmqrscp`, from the text itself."""
    reader = _Reader()
    number = 0
    try:
        for line in _lines(text):
            number = line.number
            reader.take(line)
        reader.end()
    except UsageError as error:
        raise UsageError(f"{path}, line {number}: {error.message}", hint=error.hint) from None
    return reader.found


def _lines(text: str) -> Iterator[Line]:
    held, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not held and (not line or line.startswith("#")):
            continue
        first = first or number
        held += line.removesuffix("\\") + " "
        if line.endswith(("\\", ",")):
            continue
        yield _split(first, held)
        held, first = "", 0
    if held:
        yield _split(first, held)


def _split(number: int, line: str) -> Line:
    words: list[str] = []
    grouped: set[int] = set()
    position = 0
    while match := _WORD.match(line, position):
        if match[3] is not None:
            grouped.add(len(words))
        words.append(next(group for group in match.groups() if group is not None).strip())
        position = match.end()
    rest = line[position:].strip(" =,")
    return Line(number, [*words, rest] if rest else words, grouped)


class _Reader:
    """Takes line after line."""

    def __init__(self) -> None:
        self.found = QRConfiguration()
        self._table = ""

    def take(self, line: Line) -> None:
        """One line. Raises: UsageError."""
        words = line.words
        if not words:
            return
        if words[0] in _TABLES:
            self._begin_or_end(words)
        elif self._table == "HostTable":
            self.found.hosts[words[0]] = self._peers(line, 1)
        elif self._table == "VendorTable":
            self.found.vendors.append(self._peers(line, 1))
        elif self._table == "AETable":
            self.found.served.append(self._served(line))
        else:
            self._global(words)

    def end(self) -> None:
        """After the last line. Raises: UsageError."""
        if self._table:
            raise UsageError(f"{self._table} has no end", hint=f"add the line '{self._table} END'")

    def _begin_or_end(self, words: list[str]) -> None:
        what = words[1] if len(words) > 1 else ""
        if what == "BEGIN" and not self._table:
            self._table = words[0]
        elif what == "END" and self._table == words[0]:
            self._table = ""
        else:
            inside = f"inside {self._table}" if self._table else "outside any table"
            raise UsageError(f"{' '.join(words[:2])} {inside}", hint="a table is between 'NAME BEGIN' and 'NAME END'")

    def _global(self, words: list[str]) -> None:
        name, value = words[0], words[1] if len(words) > 1 else ""
        if name == "NetworkTCPPort":
            self.found.port = _number(value, name, 1, 65535)
        elif name == "MaxPDUSize":
            self.found.max_pdu = _number(value, name, 4096, 16777216)
        elif name == "MaxAssociations":
            self.found.max_associations = _number(value, name, 1, 100000)
        elif name == "SpecificCharacterSet":
            self._charset(words[1:])
        elif name not in _IGNORED:
            raise UsageError(f"{name!r} is nothing dcmqrscp knows", hint="remove the line, or put # at its beginning")

    def _charset(self, words: list[str]) -> None:
        if not words:
            raise UsageError("SpecificCharacterSet has no value", hint="give a defined term, or fallback")
        unknown = [word for word in words[1:] if word not in _CHARSET_WORDS]
        if unknown:
            raise UsageError(f"{unknown[0]!r} after SpecificCharacterSet", hint=f"one of {', '.join(_CHARSET_WORDS)}")
        self.found.charset = "" if words[0] == "fallback" else words[0]
        self.found.override_charset = "override" in words[1:]

    def _peers(self, line: Line, start: int) -> tuple[Peer, ...]:
        peers: list[Peer] = []
        for at, word in enumerate(line.words[start:], start):
            if at in line.grouped:
                peers.append(_peer(word))
            elif word in self.found.hosts:
                peers += self.found.hosts[word]
            else:
                raise UsageError(f"symbolic name {word!r} is not defined", hint="define it in the HostTable above")
        if not peers:
            raise UsageError(f"{line.words[0]!r} has no peers", hint="give (AETitle, Host, Port) or a symbolic name")
        return tuple(peers)

    def _served(self, line: Line) -> Served:
        words = line.words
        if len(words) < 5 or 3 not in line.grouped:
            raise UsageError(
                "this is no entry of an AETable", hint="write: AETitle StorageArea Access (Studies, Size) Peers"
            )
        title = ae_title(words[0])
        if any(served.ae_title == title for served in self.found.served):
            raise UsageError(f"AE title {title} is there twice", hint="give each AE title one storage area")
        if words[2] not in ("R", "W", "RW"):
            raise UsageError(f"access {words[2]!r} is unknown", hint="one of R, RW, W")
        studies, size = _quota(words[3])
        peers = None if words[4] == "ANY" and 4 not in line.grouped else self._peers(line, 4)
        allowed: Rights = rights(words[2])
        return Served(title, words[1], allowed, (Rule(peers, allowed),), studies, 0, size)


def _peer(word: str) -> Peer:
    parts = [part for part in re.split(r"[\s,=]+", word) if part]
    if len(parts) != 3:
        raise UsageError(f"({word}) is no peer", hint="write (AETitle, Host, Port)")
    return Peer(ae_title(parts[0]), parts[1], _number(parts[2], "the port", 1, 65535))


def _quota(word: str) -> tuple[int, int]:
    studies, _, size = word.partition(",")
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise UsageError(f"({word}) is no quota", hint="write (studies, size), for example (200, 1024mb)")
    return _number(studies.strip(), "the number of studies", 1, 1 << 40), int(found[1]) * _unit(found[2])


def _unit(text: str | None) -> int:
    return _UNITS[(text or "")[:1].lower()]


def _number(text: str, what: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:20]) <= most:
        raise UsageError(f"{what} is {text!r}", hint=f"a whole number from {least} to {most}")
    return int(text)
