"""Functional groups of enhanced objects after lossy compression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from dcmkit.dataset.elements import DataSet, Element, items, text
from dcmkit.dataset.raw import BIG_ENDIAN, EXPLICIT, IMPLICIT, Encoding, RawElements, encoding_of, walk
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels import functional_groups, lossy, syntaxes
from dcmkit.pixels.transcode import NEVER_NEW, TranscodeOptions, transcode_file

FRAMES = 3


def item(**values: object) -> Dataset:
    data_set = Dataset()
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def enhanced(path: Path, syntax: str, *, undefined: bool = False, shared_type: bool = False) -> Path:
    """An enhanced MR image of three frames, with private groups that nobody knows."""
    kind = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    shared = item(
        ReferencedImageSequence=Sequence([]),
        PixelMeasuresSequence=Sequence([item(SliceThickness="1.5", PixelSpacing=["1", "1"])]),
    )
    shared.add_new(0x00090010, "LO", "NOBODY KNOWS")
    shared.add_new(0x00091001, "UN", b"\x08\0\x07\x90ORIGINAL\\X")
    groups = []
    for index in range(FRAMES):
        group = item(FrameContentSequence=Sequence([item(FrameComments=f"ORIGINAL {index}")]))
        if not shared_type:
            group.MRImageFrameTypeSequence = Sequence([item(FrameType=[*kind[:2], "T" * (index + 1), "NONE"])])
        groups.append(group)
    if shared_type:
        shared.MRImageFrameTypeSequence = Sequence([item(FrameType=kind)])
    data_set = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", SOPInstanceUID="1.2.3", ImageType=kind, Rows=16, Columns=16,
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=12, HighBit=11,
        PixelRepresentation=0, NumberOfFrames=FRAMES, SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(groups), StudyInstanceUID="1.5", SeriesInstanceUID="1.5.6",
    )  # fmt: skip
    if undefined:
        for sequence in (data_set["SharedFunctionalGroupsSequence"], data_set["PerFrameFunctionalGroupsSequence"]):
            sequence.is_undefined_length = True
            for one in sequence.value:
                one.is_undefined_length_sequence_item = True
    order = ">" if syntax == syntaxes.BIG_ENDIAN else "<"
    data_set.add_new(0x7FE00010, "OW", np.arange(16 * 16 * FRAMES, dtype=f"{order}u2").tobytes())
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("shared_type", [False, True])
@pytest.mark.parametrize("syntax", [syntaxes.IMPLICIT, syntaxes.EXPLICIT, syntaxes.BIG_ENDIAN, syntaxes.DEFLATED])
def test_no_frame_is_original_any_more(tmp_path: Path, syntax: str, shared_type: bool, undefined: bool) -> None:
    source = enhanced(tmp_path / "source", syntax, undefined=undefined, shared_type=shared_type)
    outcome = transcode_file(source, tmp_path / "out", syntaxes.JPEG_LS_NEAR)
    assert outcome.lossy
    after = pydicom.dcmread(tmp_path / "out")
    shared = after.SharedFunctionalGroupsSequence[0]
    groups = after.PerFrameFunctionalGroupsSequence
    if shared_type:
        assert list(shared.MRImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "T1", "NONE"]
    else:
        types = [list(one.MRImageFrameTypeSequence[0].FrameType) for one in groups]
        assert types == [["DERIVED", "PRIMARY", "T" * count, "NONE"] for count in (1, 2, 3)]
    assert [one.FrameContentSequence[0].FrameComments for one in groups] == ["ORIGINAL 0", "ORIGINAL 1", "ORIGINAL 2"]
    (derivation,) = shared.DerivationImageSequence
    assert derivation.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert derivation.DerivationCodeSequence[0].CodeValue == "113040"
    (study,) = after.SourceImageEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.5", "1.5.6")
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == ["1.2.3"]
    assert [int(one.tag) for one in shared] == sorted(int(one.tag) for one in shared)
    assert shared[0x00091001].value == b"\x08\0\x07\x90ORIGINAL\\X"
    assert shared.PixelMeasuresSequence[0].SliceThickness == 1.5
    assert after["SharedFunctionalGroupsSequence"].is_undefined_length == undefined


def test_lossless_leaves_them(tmp_path: Path) -> None:
    source = enhanced(tmp_path / "source", syntaxes.EXPLICIT)
    transcode_file(source, tmp_path / "out", syntaxes.JPEG_LS)
    before, after = pydicom.dcmread(source), pydicom.dcmread(tmp_path / "out")
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        assert before[keyword] == after[keyword]


def test_the_same_instance_was_made_of_nothing(tmp_path: Path) -> None:
    source = enhanced(tmp_path / "source", syntaxes.EXPLICIT)
    transcode_file(source, tmp_path / "out", syntaxes.JPEG_LS_NEAR, TranscodeOptions(uid=NEVER_NEW))
    after = pydicom.dcmread(tmp_path / "out")
    assert "DerivationImageSequence" not in after.SharedFunctionalGroupsSequence[0]
    assert "SourceImageEvidenceSequence" not in after
    assert after.PerFrameFunctionalGroupsSequence[2].MRImageFrameTypeSequence[0].FrameType[0] == "DERIVED"


def test_what_frames_were_made_of_before_stays(tmp_path: Path) -> None:
    source = enhanced(tmp_path / "source", syntaxes.EXPLICIT)
    data_set = pydicom.dcmread(source)
    data_set.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence = Sequence([item(DerivationDescription="x")])
    data_set.save_as(source)
    transcode_file(source, tmp_path / "out", syntaxes.JPEG_LS_NEAR)
    after = pydicom.dcmread(tmp_path / "out")
    assert "DerivationImageSequence" not in after.SharedFunctionalGroupsSequence[0]
    assert "SourceImageEvidenceSequence" not in after
    assert len(after.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence) == 1


def test_evidence_is_gathered_by_study_and_series() -> None:
    def uids(element: Element) -> dict[str, dict[str, list[str]]]:
        return {
            text(study, 0x0020000D): {
                text(series, 0x0020000E): [text(one, 0x00081155) for one in items(series, 0x00081199)]
                for series in items(study, 0x00081115)
            }
            for study in items({0: element}, 0)
        }

    own: DataSet = {0x0020000D: Element("UI", "1.5"), 0x0020000E: Element("UI", "1.5.6")}
    source: DataSet = {0x00081150: Element("UI", "1.2.840.1"), 0x00081155: Element("UI", "1.9.1")}
    first = functional_groups.evidence(own, source)
    assert uids(first) == {"1.5": {"1.5.6": ["1.9.1"]}}
    source |= {0x00081155: Element("UI", "1.9.2")}
    second = functional_groups.evidence(own | {0x00089154: first}, source)
    assert uids(second) == {"1.5": {"1.5.6": ["1.9.1", "1.9.2"]}}
    third = functional_groups.evidence(own | {0x00089154: second, 0x0020000E: Element("UI", "1.5.7")}, source)
    assert uids(third) == {"1.5": {"1.5.6": ["1.9.1", "1.9.2"], "1.5.7": ["1.9.2"]}}
    other = own | {0x00089154: first, 0x0020000D: Element("UI", "1.6")}
    assert uids(functional_groups.evidence(other, source)) == {"1.5": {"1.5.6": ["1.9.1"]}, "1.6": {"1.5.6": ["1.9.2"]}}


def elements(data: bytes, encoding: Encoding) -> RawElements:
    view = memoryview(data)
    return RawElements(view, encoding, walk(view, 0, len(view), encoding))


CHANGES = lossy.derived({}, transfer_syntax_uid=syntaxes.JPEG_2000, details="", sop_instance_uid="1.2")


@pytest.mark.parametrize("encoding", [IMPLICIT, EXPLICIT, BIG_ENDIAN])
def test_without_groups_there_is_nothing_to_say(encoding: Encoding) -> None:
    assert functional_groups.derived(elements(b"", encoding), {}, dict(CHANGES)) == []


@pytest.mark.parametrize(
    "value",
    [
        b"\x08\0\x07\x90CS\x08\0ORIGINAL",
        b"\xfe\xff\0\xe0\xff\xff\0\0",
        b"\xfe\xff\0\xe0\x08\0\0\0\x18\0\x26\x92SQ\0\0",
        b"\xfe\xff\0\xe0\x0c\0\0\0\x18\0\x26\x92SQ\0\0\x08\0\0\0",
    ],
)
def test_broken_groups_are_told(value: bytes) -> None:
    data = b"\0\x52\x30\x92SQ\0\0" + len(value).to_bytes(4, "little") + value
    with pytest.raises(InvalidDataSetError):
        functional_groups.derived(elements(data, encoding_of(syntaxes.EXPLICIT)), {}, dict(CHANGES))


@pytest.mark.parametrize("value", [b"DERIVED\\PRIMARY ", b"MIXED\\PRIMARY\\A ", b"ORIGINALLY\\AXI", b""])
def test_other_types_stay(value: bytes) -> None:
    frame_type = b"\x08\0\x07\x90CS" + len(value).to_bytes(2, "little") + value
    for tag in (b"\x18\0\x26\x92SQ\0\0", b"\0\x52\x30\x92SQ\0\0"):
        body = b"\xfe\xff\0\xe0" + len(frame_type).to_bytes(4, "little") + frame_type
        frame_type = tag + len(body).to_bytes(4, "little") + body
    (layer,) = functional_groups.derived(elements(frame_type, EXPLICIT), {}, dict(CHANGES))
    assert bytes(layer.data) == frame_type
