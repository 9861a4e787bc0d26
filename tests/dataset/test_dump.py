"""Text as dcmdump prints it: byte by byte where it is installed, and safe where it is not."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pydicom.data
import pytest

from dcmkit.dataset.dump import Look, Printer, search
from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.values import character_set
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"
DCMDUMP = shutil.which("dcmdump")
FILES = sorted(path for path in TEST_FILES.rglob("*") if path.suffix == ".dcm" or path.name.startswith("DICOMDIR"))
ELSEWHERE = {
    "examples_overlay.dcm",
    "examples_ybr_color.dcm",
    "no_meta_group_length.dcm",
    "test-SR.dcm",
    "DICOMDIR-nopatient",
}
"""These hold control characters or text beyond ASCII, which dcmdump passes through; the last a type of record it calls
otherwise."""


def element(tag: int, vr: str, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def lines(path: str | Path, **look) -> list[str]:
    with DumpFile(str(path)) as file:
        return list(Printer(file, Look(**look)).lines())


def written(tmp_path, *elements: bytes) -> Path:
    path = tmp_path / "file.dcm"
    path.write_bytes(file_meta("1.2", "1.3", EXPLICIT_VR_LITTLE_ENDIAN) + b"".join(elements))
    return path


def theirs(*arguments: str) -> bytes | None:
    """What dcmdump prints; None where it prints nothing."""
    assert DCMDUMP is not None
    done = subprocess.run([DCMDUMP, "-q", *arguments], capture_output=True, timeout=30, check=False)
    return None if done.returncode else done.stdout


@pytest.mark.skipif(DCMDUMP is None, reason="dcmdump is not installed")
@pytest.mark.skipif("DCMDICTPATH" in os.environ, reason="other dictionaries are in use")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_as_dcmdump_prints_it(path):
    if path.name in ELSEWHERE:
        pytest.skip("is not shown as it is on purpose")
    wanted = theirs(str(path))
    if wanted is None:
        pytest.skip("dcmdump does not read it")
    assert "\n".join(lines(path)).encode() + b"\n" == wanted


@pytest.mark.skipif(DCMDUMP is None, reason="dcmdump is not installed")
@pytest.mark.skipif("DCMDICTPATH" in os.environ, reason="other dictionaries are in use")
@pytest.mark.parametrize("name", ["JPEG2000.dcm", "rtplan.dcm", "MR_small_bigendian.dcm", "CT_small.dcm"])
@pytest.mark.parametrize(
    ("flags", "look"),
    [
        (["+L"], {"short": False}),
        (["+T"], {"tree": True}),
        (["+C"], {"color": True}),
        (["-Un"], {"uid_names": False}),
        (["-M"], {"load_limit": 4096}),
        (["+Qn"], {"quote": "xml"}),
        (["+Qo"], {"quote": "octal"}),
    ],
)
def test_every_look_as_dcmdump_has_it(name, flags, look):
    wanted = theirs(*flags, str(TEST_FILES / name))
    assert wanted is not None
    assert "\n".join(lines(TEST_FILES / name, **look)).encode() + b"\n" == wanted


def test_lines_of_a_small_file(tmp_path):
    path = written(
        tmp_path,
        element(0x00080016, "UI", b"1.2.840.10008.1.1\0"),
        element(0x00081030, "LO", b"x" * 70),
        element(0x00280010, "US", b"\1\0\2\0"),
        element(0x00280011, "US", b""),
    )
    assert lines(path)[-6:] == [
        "# Dicom-Data-Set",
        "# Used TransferSyntax: Little Endian Explicit",
        "(0008,0016) UI =VerificationSOPClass                    #  18, 1 SOPClassUID",
        f"(0008,1030) LO [{'x' * 66}... #  70, 1 StudyDescription",
        "(0028,0010) US 1\\2                                      #   4, 2 Rows",
        "(0028,0011) US (no value available)                     #   0, 0 Columns",
    ]


def test_terminal_sequences_and_false_lines_are_escaped(tmp_path):
    hostile = "\x1b[2J\x9b31m\r\n(0010,0010) PN [forged]\u202e\x07".encode()
    path = written(
        tmp_path,
        element(0x00080005, "CS", b"ISO_IR 192"),
        element(0x00100010, "PN", hostile + b" " * (len(hostile) % 2)),
    )
    shown = "\n".join(lines(path, short=False))
    assert "\\x1b[2J\\x9b31m\\r\\n(0010,0010) PN [forged]\\u202e\\x07" in shown
    assert all(line.isprintable() for line in lines(path))


def test_text_is_unicode_whatever_the_character_set(tmp_path):
    charset, name = b"\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B "
    path = written(
        tmp_path, element(0x00080005, "CS", charset + b" " * (len(charset) % 2)), element(0x00100010, "PN", name)
    )
    assert any("[Yamada=山田]" in line for line in lines(path))


def test_values_can_be_left_out(tmp_path):
    path = written(tmp_path, element(0x00100010, "PN", b"Secret"), element(0x00100020, "LO", b""))
    shown = lines(path, values=False)[-2:]
    assert "Secret" not in shown[0]
    assert "(not shown)" in shown[0]
    assert "(no value available)" in shown[1]


def test_depth():
    shown = [line for line in lines(TEST_FILES / "rtplan.dcm", depth=1) if not line.startswith(("#", "  (fffe"))]
    assert any(line.startswith("    (") for line in shown)
    assert not any(line.startswith("      ") for line in shown)


def test_searching_in_sequences():
    with DumpFile(str(TEST_FILES / "CT_small.dcm")) as file:
        found = list(search(file.nodes, file.data, (0x00100020,), character_set("")))
        inside = list(search(file.nodes, file.data, (0x00101002, 0x00100020), character_set("")))
    assert [hit.path for hit in found] == [(), (0x00101002,), (0x00101002,)]
    assert [hit.path for hit in inside] == [(0x00101002,), (0x00101002,)]
