"""Values that can be recognised wherever they turn up: no two are equal, and each is valid for its VR.

A text holds a word of its own, `Zq` and five letters of the first 22, that no dictionary and no number holds by
accident (`scoring.leaks.TOKEN`). Dates and times are different days and microseconds, numbers have eight digits.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LETTERS = "abcdefghijklmnopqrstuv"
_FIRST_DAY = date(1931, 3, 2)
ROOT = "1.2.826.0.1.3680043.10.1407"
"""UIDs of the corpus."""
CHARSETS = {
    "ISO_IR 100": "äöüßéèñçåø",
    "ISO_IR 192": "Ωλέγμα山田太郎",
    "ISO_IR 144": "юлкбыгджзф",
    "GB18030": "王小东李明月红天海山",
    "\\ISO 2022 IR 87": "山田太郎花子一二三四",
    "ISO_IR 13": "ﾔﾏﾀﾞﾀﾛｳﾊﾅｺ",
}
"""Specific Character Set, and ten letters that it can write."""
PHRASES = (
    "CT CHEST WITH CONTRAST {}",
    "{} brain axial T2 for Dr. Whitfield",
    "seen by {} on ward 7",
    "{}",
    "Call {} at 555-0142",
)


class Planter:
    """Makes one value after another.

    Args:
        start: where to begin, so that another planter's values differ.
        letters: ten of the file's character set, for words that no other value has.
    """

    def __init__(self, start: int = 0, letters: str = "") -> None:
        self.count = start
        self.letters = letters

    @property
    def word(self) -> str:
        """The next word in the file's character set, or none."""
        self.count += 1
        return "".join(self.letters[int(digit)] for digit in str(self.count)) if self.letters else ""

    def token(self) -> str:
        """The next word."""
        self.count += 1
        rest, letters = self.count * 2654435761 % 22**5, ""
        for _ in range(5):
            rest, digit = divmod(rest, 22)
            letters += _LETTERS[digit]
        return "Zq" + letters

    def uid(self) -> str:
        """The next UID."""
        self.count += 1
        return f"{ROOT}.{self.count}.9"

    def day(self) -> date:
        """The next day; 100 years of them."""
        self.count += 1
        return _FIRST_DAY + timedelta(days=self.count * 7919 % 30000)

    def clock(self) -> str:
        """The next time, to the microsecond."""
        self.count += 1
        seconds, micro = divmod(self.count * 7368787, 1_000_000)
        seconds = 3661 + seconds % 80000
        return f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}.{micro:06}"

    def number(self) -> int:
        """The next number of eight digits."""
        self.count += 1
        return 10_000_000 + self.count * 7368787 % 89_999_999

    def value(self, vr: str) -> object:
        """A value as pydicom takes it; for SQ a list of items."""
        return _MAKE[vr](self)

    def text(self, vr: str) -> str:
        """A text as long as the VR allows, with the file's word where there is room."""
        token = self.token()
        phrase = PHRASES[self.count % len(PHRASES)].format(token)
        if vr == "SH":
            return token + " ward"
        return f"{phrase} {self.word}" if self.letters else phrase

    def name(self) -> str:
        """A person name of four components."""
        alphabetic = f"{self.token()}^{self.token()}^{self.token()}^Dr"
        return f"{alphabetic}={self.word}^{self.word}" if self.letters else alphabetic

    def code(self) -> Dataset:
        """An item of a code sequence whose code nobody knows."""
        from pydicom.dataset import Dataset

        item = Dataset()
        item.CodeValue = self.token()
        item.CodingSchemeDesignator = "99" + self.token().upper()
        item.CodeMeaning = self.text("LO")
        return item

    def items(self) -> list[Dataset]:
        """Two items: codes, names, texts, a date and a deeper sequence."""
        items = [self.code(), self.code()]
        items[1].PatientName = self.name()
        items[1].PatientID = self.token()
        items[1].StudyDate = self.day().strftime("%Y%m%d")
        items[1].PurposeOfReferenceCodeSequence = [self.code()]
        items[1].add_new(0x00091010, "LO", self.token())
        items[1].add_new(0x00090010, "LO", "CREATOR " + self.token())
        return items


_MAKE = {
    "AE": lambda p: p.token().upper(),
    "AS": lambda p: f"{p.number() % 997:03}{'DWMY'[p.count % 4]}",
    "CS": lambda p: p.token().upper(),
    "DA": lambda p: p.day().strftime("%Y%m%d"),
    "DS": lambda p: f"{p.number() / 10000:.4f}",
    "DT": lambda p: p.day().strftime("%Y%m%d") + p.clock() + ("+0100" if p.count % 2 else ""),
    "IS": lambda p: str(p.number()),
    "LO": lambda p: p.text("LO"),
    "LT": lambda p: p.text("LT"),
    "OB": lambda p: (p.token() * 2).encode(),
    "OW": lambda p: (p.token() * 2).encode(),
    "PN": lambda p: p.name(),
    "SH": lambda p: p.text("SH"),
    "SQ": lambda p: p.items(),
    "ST": lambda p: p.text("ST"),
    "TM": lambda p: p.clock(),
    "UC": lambda p: p.text("UC"),
    "UI": lambda p: p.uid(),
    "UN": lambda p: (p.token() * 2).encode(),
    "UR": lambda p: f"http://{p.token().lower()}.example/a?b={p.token()}",
    "US": lambda p: p.number() % 60000 + 1000,
    "UT": lambda p: p.text("UT"),
}
