"""Where pictures are written: their format, their names, and that they appear only when complete."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dcmkit.errors import OutputDirectoryError, OutputError, UsageError

_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


def media_type_for(output: str, form: str | None) -> str:
    """The media type of a format, or else of what the output's name ends in, or PNG.

    Raises:
        UsageError: there is no such format.
    """
    from dcmkit.pixels.pictures import PNG, SUFFIXES, media_type_of

    if form:
        found = media_type_of(form)
        if not found:
            known = ", ".join(suffixes[0] for suffixes in SUFFIXES.values())
            raise UsageError(f"format {form!r} is unknown", hint=f"one of {known}")
        return found
    suffix = os.path.splitext(output)[1]
    found = media_type_of(suffix)
    if suffix and not found and not output.endswith(os.sep) and not os.path.isdir(output) and output != "-":
        raise UsageError(f"{output}: what format is {suffix!r}?", hint="choose one with --format")
    return found or PNG


def is_known(output: str) -> bool:
    """Whether a file name ends in a format that can be written."""
    from dcmkit.pixels.pictures import media_type_of

    return bool(media_type_of(os.path.splitext(output)[1]))


class Names:
    """What the picture of a file is called.

    Args:
        output: what the person said.
        roots: the files and directories named.
        several: whether there is more than one picture, so that the output must be a directory.
        media_type: of the pictures.
    """

    def __init__(self, output: str, roots: Sequence[str], several: bool, media_type: str) -> None:
        from dcmkit.pixels.pictures import SUFFIXES

        self._suffix = "." + SUFFIXES[media_type][0]
        self._output = output
        self._roots = [root for root in roots if os.path.isdir(root)]
        is_directory = bool(output) and output != "-" and (output.endswith(("/", os.sep)) or os.path.isdir(output))
        self._in_directory = is_directory or (several and output not in ("", "-"))
        self._taken: set[str] = set()
        if self._in_directory and os.path.exists(output) and not os.path.isdir(output):
            raise OutputDirectoryError(f"{output} is not a directory", hint="several pictures need one")

    def of(self, path: str) -> str:
        """The name for the picture of a file: below the output as the file is below what was named."""
        if not self._in_directory:
            return self._output
        root = next((one for one in self._roots if os.path.commonpath([os.path.abspath(one), os.path.abspath(path)])
                     == os.path.abspath(one)), "")  # fmt: skip
        relative = os.path.relpath(path, root) if root else os.path.basename(path)
        stem, suffix = os.path.splitext(relative)
        if suffix.lower() not in _DICOM_SUFFIXES:
            stem = relative
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}~{count}"
        self._taken.add(name)
        return os.path.join(self._output, name + self._suffix)

    @staticmethod
    def numbered(target: str, number: int) -> str:
        """The name of one of several frames."""
        stem, suffix = os.path.splitext(target)
        return f"{stem}.{number}{suffix}"


def write_atomically(path: str, data: bytes) -> None:
    """Write a file under another name and give it its own when it is complete; directories are made.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name[:200]}.{os.getpid():x}.{id(data):x}.tmp")
    try:
        if directory:
            os.makedirs(directory, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        try:
            os.unlink(temporary)
        except OSError:
            pass
