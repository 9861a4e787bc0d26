"""Where de-identified objects are written: names made of pseudonyms, files that are there only when they are complete.

Nothing is overwritten. What is there already with the same content is left as it is, so that a second run adds only
what is missing; two inputs that claim to be the same SOP Instance and differ both get a file, and which of them has the
plain name does not depend on the order they come in.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from dcmkit.deid.pieces import Buffer
from dcmkit.deid.unnamed import Check, UnnamedFile, digest_of
from dcmkit.errors import InputError, OutputDirectoryError, OutputError

UID_NAMES, SHORT_NAMES = "uid", "short"
WRITTEN, PRESENT = "written", "present"
_LOCK_NAME = ".dcmkit-anonymize.lock"
_UNKNOWN = "unknown"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class Claim(NamedTuple):
    """A claim on a name.

    Attributes:
        name: the path that all with the same SOP Instance UID would have.
        digest, rival: of the own content, and of whatever had the name then; "" where nothing had.
    """

    name: str
    digest: str = ""
    rival: str = ""


class Written(NamedTuple):
    """A file of the output.

    Attributes:
        path: where it is.
        status: `WRITTEN`, or `PRESENT` where it was there already.
        claim: what `final_names` needs to know.
    """

    path: str
    status: str
    claim: Claim = Claim("")


class Output:
    """The directory, or the one file, that de-identified objects go to.

    Args:
        path: the directory; or with `single` the file.
        names: `UID_NAMES` or `SHORT_NAMES`, which fit a DICOMDIR (PS3.10 8.2).
    """

    def __init__(self, path: str, *, names: str = UID_NAMES, single: bool = False) -> None:
        self.path, self._names, self._single = path, names, single
        self._made: set[str] = set()

    @property
    def fits_directory(self) -> bool:
        """Whether a DICOMDIR can name its files (PS3.10 8.2)."""
        return self._names == SHORT_NAMES and not self._single

    def room(self) -> str:
        """The directory where a file may wait until it gets its name.

        Raises:
            OutputDirectoryError: it cannot be made.
        """
        directory = (os.path.dirname(self.path) or ".") if self._single else self.path
        self.make(directory)
        return directory

    def name(self, place: tuple[str, str, str, str]) -> str:
        """The path of an object.

        Args:
            place: pseudonyms of the patient, Study, Series and SOP Instance UID.
        """
        if self._single:
            return self.path
        if self._names == SHORT_NAMES:
            return os.path.join(self.path, *(short_name(part) for part in place))
        return os.path.join(self.path, *(_safe(part) for part in place[:3]), f"{_safe(place[3])}.dcm")

    def beside(self, target: str, digest: str) -> str:
        """The name of an object whose plain name, `target`, another has that claims to be the same SOP Instance."""
        if self._names == SHORT_NAMES:
            directory, name = os.path.split(target)
            return os.path.join(directory, short_name(f"{name}~{digest}"))
        stem, suffix = os.path.splitext(target)
        return f"{stem}~{digest[:8]}{suffix}"

    def write(
        self,
        place: tuple[str, str, str, str],
        pieces: Iterable[Buffer],
        source: str = "",
        *,
        check: Check | None = None,
    ) -> Written:
        """One object.

        Args:
            pieces: the whole file.
            source: the file it comes from, which is never replaced.
            check: is shown the whole file before it gets its name; what it raises, this raises.

        Raises:
            OutputError: it cannot be written; nothing of it is left.
        """
        target = self.name(place)
        directory = os.path.dirname(target) or "."
        self.make(directory)
        try:
            with self._new_file() as new:
                new.write(pieces)
                if check is not None:
                    new.show(check)
                return self._placed(new, target, source)
        except OSError as error:
            raise OutputError(f"the output cannot be written: {error.strerror or error}") from None

    def _new_file(self) -> UnnamedFile:
        """All of an output are made in its root: file systems look for room near the directory, anew for each."""
        return UnnamedFile(os.path.join(self.room(), f".dcmkit-{os.urandom(8).hex()}.part"))

    def make(self, directory: str) -> None:
        """Make a directory that is not there.

        Raises:
            OutputDirectoryError: it cannot be made.
        """
        if directory in self._made:
            return
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise OutputDirectoryError(f"the output directory cannot be made: {error.strerror or error}") from None
        self._made.add(directory)

    # --- names that are taken ------------------------------------------------------------------------------------

    def _placed(self, new: UnnamedFile, target: str, source: str) -> Written:
        if new.link(target):
            return Written(target, WRITTEN, Claim(target))
        with suppress(OSError):
            if source and os.path.samefile(source, target):
                raise InputError("would be overwritten by its own output", hint="choose another OUT")
        with self._locked():
            mine, theirs = new.digest(), digest_of(target)
            claim = Claim(target, mine, theirs)
            if mine == theirs:
                return Written(target, PRESENT, claim)
            if self._single:
                raise OutputError("the output file is there already, with other content", hint="choose another OUT")
            beside = self.beside(target, mine)
            if os.path.exists(beside):
                return Written(beside, PRESENT, claim)
            if mine > theirs:
                new.link(beside)
                return Written(beside, WRITTEN, claim)
            with suppress(FileExistsError):
                os.link(target, self.beside(target, theirs))
            new.replace(target)
            return Written(target, WRITTEN, claim)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, in all processes: names that are taken are rare."""
        try:
            import fcntl
        except ImportError:  # pragma: no cover - Windows
            yield
            return
        path = os.path.join(self.room(), _LOCK_NAME)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if _is_there(fd, path):  # whoever had it before may have taken it away
                    yield
                    os.unlink(path)
                    return
            finally:
                os.close(fd)

    def final_names(self, claims: Iterable[Claim]) -> list[str]:
        """Under which name each of those is in the end that have claimed the same one.

        The smallest digest has it; whoever had it before was moved aside. So the largest of the rivals is the digest of
        the one who came first and had none.
        """
        listed = list(claims)
        first = max(claim.rival for claim in listed)
        digests = [claim.digest or first for claim in listed]
        owner = min((first, *digests))
        return [
            claim.name if digest == owner else self.beside(claim.name, digest)
            for claim, digest in zip(listed, digests, strict=True)
        ]


def _is_there(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def _safe(part: str) -> str:
    """A name that is no path; what is none gets one made of it."""
    if _NAME.fullmatch(part):
        return part
    return short_name(part) if part.strip(".") else _UNKNOWN


def short_name(text: str) -> str:
    """Eight characters that a File ID may have (PS3.10 8.2), made of a pseudonym."""
    return base64.b32encode(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:5]).decode()
