"""Files from one transfer syntax into another, read back by dcmkit and by pydicom."""

from __future__ import annotations

import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import codecs, plan, syntaxes, transcode
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import EncodeOptions
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.plan import named
from dcmkit.pixels.transcode import Outcome, TranscodeOptions, transcode_file, transcoded
from dcmkit.pixels.writer import ImageWriter
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.pixels import files
from tests.pixels.images import IMAGES

LOSSLESS = ("rle", "jpeg-lossless", "jpeg-lossless-14", "jpegls", "j2k", "htj2k", "htj2k-rpcl", "jxl", "encapsulated",
            "deflated-frames", "implicit", "big-endian", "deflated")  # fmt: skip


def sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} is not bundled with pydicom"
    return Path(path)


def made(path: Path, name: str, frames: int = 1) -> Path:
    """A file of one of the made images."""
    array, said = IMAGES[name]
    elements = b"".join(
        files.element(tag, vr, value if isinstance(value, bytes) else value.to_bytes(2, "little"))
        for tag, vr, value in [
            (0x00080005, "CS", b"ISO_IR 192"), (0x00080008, "CS", b"ORIGINAL\\PRIMARY"), (0x00080016, "UI", b"1.2"),
            (0x00080018, "UI", b"1.2.3"), (0x00100010, "PN", "Müller^Änne".encode()),
            (0x00280002, "US", said.samples_per_pixel), (0x00280004, "CS", said.photometric_interpretation.encode()),
            (0x00280008, "IS", str(frames).encode()), (0x00280010, "US", said.rows), (0x00280011, "US", said.columns),
            (0x00280100, "US", said.bits_allocated), (0x00280101, "US", said.bits_stored),
            (0x00280102, "US", said.high_bit), (0x00280103, "US", said.pixel_representation),
        ]
    )  # fmt: skip
    data = codecs.encode_frame(array, EXPLICIT_VR_LITTLE_ENDIAN, said).data * frames
    return files.native(path, data, elements, "OW" if said.bits_allocated > 8 else "OB")


def pixels(path: Path) -> list[np.ndarray]:
    with ImageFile(path) as image:
        assert image.description is not None
        return [
            codecs.decode_frame(image.frame(index), image.transfer_syntax_uid, image.description).array
            for index in range(image.number_of_frames)
        ]


def same(one: Path, other: Path) -> bool:
    first, second = pixels(one), pixels(other)
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def attributes(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path)


@pytest.mark.parametrize("target", LOSSLESS)
@pytest.mark.parametrize("name", sorted(IMAGES))
def test_lossless_there_and_back(tmp_path: Path, name: str, target: str) -> None:
    source = made(tmp_path / "source", name)
    try:
        outcome = transcode_file(source, tmp_path / "there", named(target))
    except UnsupportedSyntaxError:
        assert IMAGES[name][1].bits_stored in (1, 24, 32, 20)
        return
    transcode_file(tmp_path / "there", tmp_path / "back", EXPLICIT_VR_LITTLE_ENDIAN)
    assert not outcome.lossy
    assert same(source, tmp_path / "back")
    there, back, before = attributes(tmp_path / "there"), attributes(tmp_path / "back"), attributes(source)
    assert there.file_meta.TransferSyntaxUID == named(target)
    assert there.SOPInstanceUID == back.SOPInstanceUID == there.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert str(there.PatientName) == "Müller^Änne"
    assert (back.BitsAllocated, back.BitsStored, back.HighBit) == (
        before.BitsAllocated, before.BitsStored, before.HighBit,
    )  # fmt: skip
    assert "LossyImageCompression" not in back


@pytest.mark.parametrize("target", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "image_dfl.dcm",
        "liver_1frame.dcm",
    ],
)
def test_pixels_and_attributes_survive(tmp_path: Path, name: str, target: str) -> None:
    before = pydicom.dcmread(sample(name))
    transcode_file(sample(name), tmp_path / "out", target)
    after = attributes(tmp_path / "out")
    assert np.array_equal(after.pixel_array, before.pixel_array)
    for element in before:
        if element.VR not in ("OB", "OW", "OB or OW", "SQ", "UN") and element.keyword != "PhotometricInterpretation":
            assert after[element.tag].value == element.value, element


def lossy(tmp_path: Path, name: str, target: str, **options: object) -> tuple[Outcome, pydicom.Dataset]:
    source = made(tmp_path / "source", name)
    outcome = transcode_file(source, tmp_path / "out", named(target), TranscodeOptions(EncodeOptions(**options)))
    return outcome, attributes(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "target", "method"),
    [
        ("rgb", "jpeg", "ISO_10918_1"),
        ("12 bits", "jpeg-extended", "ISO_10918_1"),
        ("12 bits", "jpegls-near", "ISO_14495_1"),
        ("12 bits", "j2k-lossy", "ISO_15444_1"),
        ("12 bits", "htj2k-lossy", "ISO_15444_15"),
        ("rgb", "jxl-lossy", "ISO_18181_1"),
        ("rgb", "jxl-jpeg", "ISO_10918_1"),
    ],
)
def test_lossy_makes_another_instance(tmp_path: Path, name: str, target: str, method: str) -> None:
    outcome, after = lossy(tmp_path, name, target)
    assert outcome.lossy
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == outcome.sop_instance_uid != "1.2.3"
    assert (after.LossyImageCompression, after.LossyImageCompressionMethod) == ("01", method)
    assert list(after.ImageType) == ["DERIVED", "PRIMARY"]
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    with ImageFile(tmp_path / "out") as image:
        assert image.description is not None
        ratio = image.description.frame_bytes / len(image.frame(0)) if target != "jpeg" else None
    if ratio:
        assert float(after.LossyImageCompressionRatio) == pytest.approx(ratio, rel=0.05)
    before = pixels(tmp_path / "source")[0]
    if name == "12 bits":
        assert np.abs(before.astype(int) - pixels(tmp_path / "out")[0].astype(int)).max() < 200


def test_colours_of_baseline_jpeg_are_subsampled(tmp_path: Path) -> None:
    _, after = lossy(tmp_path, "rgb", "jpeg")
    assert after.PhotometricInterpretation == "YBR_FULL_422"
    transcode_file(tmp_path / "out", tmp_path / "back", EXPLICIT_VR_LITTLE_ENDIAN)
    assert attributes(tmp_path / "back").PhotometricInterpretation == "RGB"
    before, after_all = pixels(tmp_path / "source")[0], pixels(tmp_path / "back")[0]
    assert np.abs(before.astype(int) - after_all.astype(int)).mean() < 4


@pytest.mark.parametrize(
    ("target", "color"),
    [
        ("explicit", "RGB"), ("rle", "RGB"), ("jpegls", "RGB"), ("j2k", "YBR_RCT"), ("j2k-lossy", "YBR_ICT"),
        ("jpeg-lossless", "RGB"), ("jpeg", "YBR_FULL_422"), ("jxl-jpeg", "YBR_FULL_422"), ("jxl-lossy", "XYB"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["jpeg", "jxl-jpeg"])
def test_colours_out_of_lossy_jpeg_are_rgb(tmp_path: Path, source: str, target: str, color: str) -> None:
    lossy(tmp_path, "rgb", source)
    options = TranscodeOptions(EncodeOptions(quality=100, near=0), relabel=False, force=source == target)
    transcode_file(tmp_path / "out", tmp_path / "back", named(target), options)
    assert attributes(tmp_path / "back").PhotometricInterpretation == color


@pytest.mark.parametrize(("rgb", "color"), [(None, "RGB"), (True, "RGB"), (False, "YBR_FULL")])
def test_luminance_and_chrominance_are_kept_where_asked_for(tmp_path: Path, rgb: bool | None, color: str) -> None:
    lossy(tmp_path, "rgb", "jpeg")
    for target in ("explicit", "rle"):
        transcode_file(tmp_path / "out", tmp_path / target, named(target), TranscodeOptions(rgb=rgb))
        assert attributes(tmp_path / target).PhotometricInterpretation == color
    transcode_file(tmp_path / "out", tmp_path / "kept", named("explicit"), TranscodeOptions(rgb=False))
    for rgb_again, expected in ((None, "YBR_FULL"), (False, "YBR_FULL"), (True, "RGB")):  # not out of JPEG
        transcode_file(tmp_path / "kept", tmp_path / "rle", named("rle"), TranscodeOptions(rgb=rgb_again))
        assert attributes(tmp_path / "rle").PhotometricInterpretation == expected


def test_conversion_on_the_way_makes_rgb_of_lossy_jpeg(tmp_path: Path) -> None:
    _, before = lossy(tmp_path, "rgb", "jpeg")
    data = transcoded(str(tmp_path / "out"), read_file_header(tmp_path / "out"), EXPLICIT_VR_LITTLE_ENDIAN)
    assert b"CS\4\0RGB " in data
    assert before.SOPInstanceUID.encode() in data


def test_a_second_loss_is_appended(tmp_path: Path) -> None:
    lossy(tmp_path, "12 bits", "j2k-lossy")
    first = attributes(tmp_path / "out").SOPInstanceUID
    transcode_file(tmp_path / "out", tmp_path / "twice", named("jpegls-near"))
    after = attributes(tmp_path / "twice")
    assert list(after.LossyImageCompressionMethod) == ["ISO_15444_1", "ISO_14495_1"]
    assert len(after.LossyImageCompressionRatio) == 2
    assert [item.ReferencedSOPInstanceUID for item in after.SourceImageSequence] == ["1.2.3", first]


def test_decompressed_it_is_still_said_to_be_lossy(tmp_path: Path) -> None:
    outcome = transcode_file(sample("SC_rgb_jpeg_dcmtk.dcm"), tmp_path / "out", EXPLICIT_VR_LITTLE_ENDIAN)
    assert not outcome.lossy
    assert attributes(tmp_path / "out").LossyImageCompression == "01"


def test_overlays_within_samples_survive_or_stop_it(tmp_path: Path) -> None:
    source = made(tmp_path / "source", "overlay in unused bits")
    content = source.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00")
    position = files.element(0x60000100, "US", b"\x10\0") + files.element(0x60000102, "US", b"\x0e\0")
    source.write_bytes(content[:at] + position + content[at:])
    for target in ("jpegls-near", "j2k-lossy"):
        with pytest.raises(UnsupportedSyntaxError, match="bits above Bits Stored are in use"):
            transcode_file(source, tmp_path / "out", named(target))
    transcode_file(source, tmp_path / "out", named("jpegls"))
    assert same(source, tmp_path / "out")


def test_near_zero_is_lossless(tmp_path: Path) -> None:
    outcome, after = lossy(tmp_path, "12 bits", "jpegls-near", near=0)
    assert not outcome.lossy
    assert after.SOPInstanceUID == "1.2.3"
    assert transcode_file(tmp_path / "out", tmp_path / "two", named("jpegls")).action == plan.RELABEL


@pytest.mark.parametrize(("uid", "new"), [(transcode.ALWAYS_NEW, True), (transcode.NEVER_NEW, False)])
def test_uids_as_asked_for(tmp_path: Path, uid: str, new: bool) -> None:
    source = made(tmp_path / "source", "rgb")
    for target in ("rle", "jpeg", "implicit"):
        outcome = transcode_file(source, tmp_path / target, named(target), TranscodeOptions(uid=uid))
        after = attributes(tmp_path / target)
        assert (after.SOPInstanceUID != "1.2.3") == new
        assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == outcome.sop_instance_uid


def test_loss_can_be_ruled_out(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSyntaxError, match="would lose"):
        transcode_file(made(tmp_path / "a", "rgb"), tmp_path / "b", named("jpeg"), TranscodeOptions(allow_lossy=False))
    assert sorted(os.listdir(tmp_path)) == ["a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("jpeg-lossless", "jpeg-lossless-14"), ("jpeg-lossless-14", "jpeg-lossless"), ("jpegls", "jpegls-near"),
        ("j2k", "j2k-lossy"), ("htj2k", "htj2k-lossy"), ("htj2k-rpcl", "htj2k"),
    ],
)  # fmt: skip
def test_codestreams_are_kept_within_a_family(tmp_path: Path, first: str, second: str) -> None:
    transcode_file(made(tmp_path / "source", "12 bits", 3), tmp_path / "one", named(first))
    outcome = transcode_file(tmp_path / "one", tmp_path / "two", named(second))
    assert outcome.action == plan.RELABEL
    with ImageFile(tmp_path / "one") as one, ImageFile(tmp_path / "two") as two:
        assert [bytes(one.frame(index)) for index in range(3)] == [bytes(two.frame(index)) for index in range(3)]
    assert attributes(tmp_path / "two").SOPInstanceUID == "1.2.3"


def test_another_predictor_is_not_relabelled(tmp_path: Path) -> None:
    source = made(tmp_path / "source", "12 bits")
    options = TranscodeOptions(EncodeOptions(predictor=6))
    transcode_file(source, tmp_path / "one", named("jpeg-lossless-14"), options)
    assert transcode_file(tmp_path / "one", tmp_path / "two", named("jpeg-lossless")).action == plan.RECODE
    assert same(source, tmp_path / "two")


def test_jpeg_comes_back_out_of_jpeg_xl(tmp_path: Path) -> None:
    lossy(tmp_path, "rgb", "jpeg")
    assert transcode_file(tmp_path / "out", tmp_path / "xl", named("jxl-jpeg")).action == plan.RECOMPRESS
    assert transcode_file(tmp_path / "xl", tmp_path / "back", named("jpeg")).action == plan.RECOMPRESS
    with ImageFile(tmp_path / "out") as before, ImageFile(tmp_path / "back") as after:
        assert bytes(before.frame(0)) == bytes(after.frame(0))
    assert os.path.getsize(tmp_path / "xl") < os.path.getsize(tmp_path / "out") + 200


def test_many_frames_at_once(tmp_path: Path) -> None:
    source = made(tmp_path / "source", "rgb noise", 20)
    with ThreadPoolExecutor(3) as pool:
        transcode_file(source, tmp_path / "out", named("rle"), TranscodeOptions(jobs=3), pool=pool)
        transcode_file(source, tmp_path / "lossy", named("jpeg"), TranscodeOptions(jobs=3), pool=pool)
    assert same(source, tmp_path / "out")
    assert len(pixels(tmp_path / "lossy")) == 20
    assert attributes(tmp_path / "out").PlanarConfiguration == 1


def test_a_file_may_become_itself(tmp_path: Path) -> None:
    source = made(tmp_path / "source", "12 bits")
    before = pixels(source)[0]
    transcode_file(source, source, named("jpegls"))
    assert np.array_equal(pixels(source)[0], before)
    assert os.listdir(tmp_path) == ["source"]


def test_what_is_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    content = bytearray(sample("MR_small_jp2klossless.dcm").read_bytes())
    at = content.rindex(b"\xff\x4f\xff\x51")
    content[at : at + 200] = bytes(200)
    (tmp_path / "damaged").write_bytes(content)
    for target in ("explicit", "rle", "jpegls-near"):
        with pytest.raises(InvalidDataSetError):
            transcode_file(tmp_path / "damaged", tmp_path / "out", named(target))
    assert os.listdir(tmp_path) == ["damaged"]


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
@pytest.mark.parametrize("cut", [20, 500])
def test_a_truncated_file_is_not_made_a_whole_one(tmp_path: Path, name: str, cut: int) -> None:
    (tmp_path / name).write_bytes(sample(name).read_bytes()[:-cut])
    with pytest.raises(InvalidDataSetError):
        transcode_file(tmp_path / name, tmp_path / "out", IMPLICIT_VR_LITTLE_ENDIAN)


def test_frames_missing_at_the_end_are_missed(tmp_path: Path) -> None:
    source = made(tmp_path / "source", "8 bits", 3)
    source.write_bytes(source.read_bytes().replace(b"IS\2\x003 ", b"IS\2\x004 "))
    for target in ("implicit", "rle"):
        with pytest.raises(InvalidDataSetError, match="ends before frame 4"):
            transcode_file(source, tmp_path / "out", named(target))


def test_words_of_pixels_are_16_bit_even_where_pixels_are_32(tmp_path: Path) -> None:
    """PS3.5 6.2: OW is a stream of 16-bit words, whatever they make up; DCMTK's dcmconv does the same."""
    transcode_file(sample("rtdose_1frame.dcm"), tmp_path / "big", EXPLICIT_VR_BIG_ENDIAN)
    transcode_file(tmp_path / "big", tmp_path / "back", EXPLICIT_VR_LITTLE_ENDIAN)
    before = pydicom.dcmread(sample("rtdose_1frame.dcm")).PixelData
    big = attributes(tmp_path / "big").PixelData
    assert big == b"".join(before[at : at + 2][::-1] for at in range(0, len(before), 2))
    assert attributes(tmp_path / "back").PixelData == before
    transcode_file(tmp_path / "big", tmp_path / "rle", named("rle"))
    assert np.array_equal(
        attributes(tmp_path / "rle").pixel_array, pydicom.dcmread(sample("rtdose_1frame.dcm")).pixel_array
    )


def test_pixels_that_nobody_describes_go_native_only(tmp_path: Path) -> None:
    data_set = b"\x7f\xe0\0\x10OW\0\0\0\0\0\x05\1\2\3\4\5"
    (tmp_path / "odd").write_bytes(file_meta("1.2", "1.2.3", EXPLICIT_VR_BIG_ENDIAN) + data_set)
    header = read_file_header(tmp_path / "odd")
    after = transcoded(str(tmp_path / "odd"), header, EXPLICIT_VR_LITTLE_ENDIAN)
    assert after == b"\xe0\x7f\x10\0OW\0\0\6\0\0\0\2\1\4\3\5\0"
    with pytest.raises(InvalidDataSetError, match="no rows, columns"):
        transcode_file(tmp_path / "odd", tmp_path / "out", named("rle"))


def test_objects_without_pixels(tmp_path: Path) -> None:
    outcome = transcode_file(sample("rtplan.dcm"), tmp_path / "out", named("jpegls"))
    assert (outcome.frames, outcome.transfer_syntax_uid) == (0, EXPLICIT_VR_LITTLE_ENDIAN)
    assert attributes(tmp_path / "out") == pydicom.dcmread(sample("rtplan.dcm"))


def test_bare_data_sets(tmp_path: Path) -> None:
    whole = sample("MR_small_implicit.dcm")
    (tmp_path / "bare").write_bytes(whole.read_bytes()[read_file_header(whole).offset :])
    transcode_file(tmp_path / "bare", tmp_path / "out", EXPLICIT_VR_LITTLE_ENDIAN)
    assert np.array_equal(attributes(tmp_path / "out").pixel_array, pydicom.dcmread(whole).pixel_array)


def test_video_is_passed_on(tmp_path: Path) -> None:
    stream = b"\0\0\1\xb3" + bytes(range(200))
    path = files.write(tmp_path / "v", files.VIDEO, files.attributes(frames=90), files.encapsulated([stream]))
    outcome = transcode_file(path, tmp_path / "out", files.VIDEO)
    assert outcome.action == plan.RELABEL
    with ImageFile(tmp_path / "out") as image:
        assert (bytes(image.frame(0)), image.number_of_frames) == (stream, 90)
    with pytest.raises(UnsupportedSyntaxError):
        transcode_file(path, tmp_path / "no", EXPLICIT_VR_LITTLE_ENDIAN)


def test_memory_stays_flat(tmp_path: Path) -> None:
    """A hundred frames of a megabyte each, of which a few are there at once."""
    said = PixelDescription(1024, 512, number_of_frames=100)
    frame = (np.arange(said.rows * said.columns, dtype="<u2") // 7).tobytes()
    elements = files.attributes(1024, 512, 16, 100)
    source = files.write(tmp_path / "big", EXPLICIT_VR_LITTLE_ENDIAN, elements, b"\xe0\x7f\x10\0OW\0\0",
                         (len(frame) * 100).to_bytes(4, "little"), frame * 100)  # fmt: skip
    transcode_file(made(tmp_path / "warm", "12 bits"), tmp_path / "up", named("rle"))
    tracemalloc.start()
    try:
        transcode_file(source, tmp_path / "out", named("rle"))
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_the_writer_is_left_alone_until_the_first_frame_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageWriter, "__init__", lambda *args, **kwargs: pytest.fail("written too early"))
    (tmp_path / "x").write_bytes(sample("MR_small_RLE.dcm").read_bytes().replace(b"\x40\0\0\0", b"\x41\0\0\0", 1))
    with pytest.raises(InvalidDataSetError):
        transcode_file(tmp_path / "x", tmp_path / "out", EXPLICIT_VR_LITTLE_ENDIAN)


def test_same_syntax_with_other_lengths(tmp_path: Path) -> None:
    options = TranscodeOptions(writer=transcode.WriterOptions(sequences="undefined"))
    transcode_file(sample("rtplan.dcm"), tmp_path / "out", IMPLICIT_VR_LITTLE_ENDIAN, options)
    assert b"\xfe\xff\xdd\xe0" in (tmp_path / "out").read_bytes()


def test_syntaxes_of_the_plan_are_those_of_the_codecs() -> None:
    able = {one.transfer_syntax_uid for one in codecs.available() if one.encoders}
    assert able == plan.ENCODED | syntaxes.NATIVE
