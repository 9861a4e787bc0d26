"""Build the planted corpus into a directory.

python -m tests.deid.planted.corpus DIRECTORY
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING

from tests.deid.planted import objects, peculiar, reports, table
from tests.deid.planted.objects import Study
from tests.deid.planted.values import CHARSETS, Planter

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
NATIVE = (EXPLICIT, IMPLICIT, BIG, DEFLATED)
PRIVATE_CLASS = "1.2.826.0.1.3680043.10.1407.77.1"


@dataclass
class Corpus:
    """What was built.

    Attributes:
        unsafe: names of files that no tool may write unless it cleans pixels or was told to.
        optional: names of files that a tool may write or not.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    unsafe: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)

    def save(
        self, name: str, data_set: Dataset, syntax: str = EXPLICIT, *, before: bytes = b"", after: bytes = b"",
        planter: Planter | None = None,
    ) -> None:  # fmt: skip
        """Write a file whose preamble and file meta information are planted as well.

        Args:
            before: elements put before the first one of the data set, as they are to be encoded.
            after: bytes put behind the last one.
        """
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part10(data_set, syntax, planter or Planter(len(self.files) * 50 + 4_000_000), before, after))
        self.files.append(name)


def part10(data_set: Dataset, syntax: str, planter: Planter, before: bytes = b"", after: bytes = b"") -> bytes:
    """The bytes of a Part 10 file."""
    import zlib
    from io import BytesIO

    from pydicom.dataset import FileMetaDataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset, write_file_meta_info

    body = DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = syntax != BIG, syntax == IMPLICIT
    write_dataset(body, _plain(data_set))
    encoded = before + body.getvalue() + after
    if syntax == DEFLATED:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        encoded = deflater.compress(encoded) + deflater.flush()
        encoded += b"\0" * (len(encoded) % 2)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = planter.uid()
    meta.ImplementationVersionName = planter.token()
    meta.SourceApplicationEntityTitle = planter.token().upper()
    meta.SendingApplicationEntityTitle = planter.token().upper()
    meta.ReceivingApplicationEntityTitle = planter.token().upper()
    meta.PrivateInformationCreatorUID = planter.uid()
    meta.PrivateInformation = (planter.token() * 2).encode()
    head = BytesIO()
    write_file_meta_info(head, meta)
    return (planter.token() * 18).encode()[:126] + b"\0\0" + b"DICM" + head.getvalue() + encoded


def _plain(data_set: Dataset) -> Dataset:
    """Without what ties it to the file it came from, whose encoding is another."""
    from pydicom.dataset import Dataset

    plain = Dataset()
    for element in data_set:
        plain[element.tag] = element
    return plain


def build(root: Path) -> Corpus:
    """Write all files below `root`."""
    import warnings

    from pydicom import config

    corpus = Corpus(root)
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        _patients(corpus)
        _tables(corpus)
        _odd(corpus)
        _peculiar(corpus)
        _codestreams(corpus)
        _unsafe(corpus)
    return corpus


def _patients(corpus: Corpus) -> None:
    """Three patients with two studies each."""
    for number, (charset, letters) in enumerate(list(CHARSETS.items())[:3]):
        planter = Planter(1_000_000 + number * 100_000, letters)
        name, identity = f"Winter{planter.token()}^{planter.token()}", planter.token()
        birth = date(1957 + number, 4, 5 + number)
        for visit in range(2):
            study = Study(planter, name, identity, birth, date(2011 + visit, 3 + number, 7 + number), charset)
            _study(corpus, study, f"{name}/study {visit}", number * 2 + visit)


def _study(corpus: Corpus, study: Study, folder: str, number: int) -> None:
    syntaxes = NATIVE[number % 4 :] + NATIVE[: number % 4]
    corpus.save(f"{folder}/ct1.dcm", objects.ct(study, private=number == 0), EXPLICIT)
    corpus.save(f"{folder}/ct2.dcm", objects.ct(study), syntaxes[1])
    corpus.save(f"{folder}/mr {study.name}.dcm", objects.mr(study), syntaxes[2])
    corpus.save(f"{folder}/pr.dcm", objects.presentation_state(study), syntaxes[0])
    corpus.save(f"{folder}/ko.dcm", reports.report(study, reports.KEY_OBJECTS, "KO"), syntaxes[1])
    if number == 0:
        corpus.save(f"{folder}/sr.dcm", reports.report(study, reports.COMPREHENSIVE, every=True), EXPLICIT)
        corpus.save(f"{folder}/dose.dcm", reports.report(study, reports.DOSE), EXPLICIT)
    elif number == 1:
        corpus.save(f"{folder}/text.dcm", reports.report(study, reports.BASIC_TEXT), syntaxes[0])
        corpus.save(f"{folder}/enhanced.dcm", reports.report(study, reports.ENHANCED), IMPLICIT)
    elif number == 2:
        for data_set in objects.radiotherapy(study):
            corpus.save(f"{folder}/{data_set.Modality}.dcm", data_set, syntaxes[0])
    elif number == 3:
        corpus.save(f"{folder}/seg.dcm", objects.segmentation(study), EXPLICIT)
        corpus.save(f"{folder}/ecg.dcm", objects.waveform(study), EXPLICIT)
    elif number == 4:
        for kind in (objects.PDF, objects.CDA):
            corpus.save(f"{folder}/{kind[-1]}.dcm", objects.encapsulated(study, kind), EXPLICIT)
            corpus.optional.add(f"{folder}/{kind[-1]}.dcm")


def _base(planter: Planter, number: int) -> Study:
    return Study(planter, planter.name(), planter.token(), date(1930, 1, 2), planter.day(), "ISO_IR 192")


def _tables(corpus: Corpus) -> None:
    """The whole table, at the top of many IODs and in sequences."""
    for number, syntax in enumerate((EXPLICIT, IMPLICIT, BIG, DEFLATED)):
        charset, planter = table.charset_planter(2_000_000 + number * 20_000, number)
        data_set = objects.ct(_base(planter, number))
        table.plant_all(data_set, planter)
        data_set.SpecificCharacterSet = charset.split("\\")
        order, explicit = ">" if syntax == BIG else "<", syntax != IMPLICIT
        padding = table.element(0xFFFCFFFC, "OB", (planter.token() * 3).encode(), order, explicit=explicit)
        corpus.save(f"table/top{number}.dcm", data_set, syntax, after=padding, planter=planter)
    for number, (depth, tags) in enumerate(
        (
            (1, (0x00081115,)),
            (7, (0x00081115, 0x00321064, 0x00400260)),
            (3, (0x00185011, 0x00080082)),
            (2, (0x00EE0002,)),
        )
    ):
        charset, planter = table.charset_planter(2_200_000 + number * 40_000, number + 2)
        data_set = objects.mr(_base(planter, number))
        data_set.SpecificCharacterSet = charset.split("\\")
        for element in table.nested(planter, depth, tags):
            data_set[element.tag] = element
        if number == 1:
            _undefined(data_set)
        corpus.save(
            f"table/nested{number}.dcm", data_set, (EXPLICIT, IMPLICIT, IMPLICIT, EXPLICIT)[number], planter=planter
        )
    _iods(corpus)
    planter = Planter(2_500_000)
    data_set = objects.made(SOPClassUID=objects.CT, SOPInstanceUID=planter.uid(), SpecificCharacterSet="ISO_IR 192")
    name = "table/unknown.dcm"
    corpus.save(name, data_set, EXPLICIT, planter=planter, after=table.as_unknown(planter))


def _iods(corpus: Corpus) -> None:
    """Over what an object has, the rest of the table: compound codes depend on the IOD."""
    planter = Planter(2_600_000)
    study = _base(planter, 0)
    made = [objects.ct(study), objects.mr(study), objects.presentation_state(study), objects.segmentation(study)]
    made += [*objects.radiotherapy(study), objects.waveform(study), reports.report(study, reports.COMPREHENSIVE)]
    made += [reports.report(study, reports.KEY_OBJECTS, "KO"), reports.report(study, reports.BASIC_TEXT)]
    for data_set in made:
        table.plant_all(data_set, planter, keep=True)
        corpus.save(f"table/iod {data_set.Modality} {data_set.SOPClassUID[-4:]}.dcm", data_set, EXPLICIT)


def _undefined(data_set: Dataset) -> None:
    """Sequences and items of undefined length, all the way down."""
    for element in data_set:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _undefined(item)


def _odd(corpus: Corpus) -> None:
    """All private attributes, groups that do not belong there, icons, signatures, dates of all sorts."""
    for number, syntax in enumerate((EXPLICIT, IMPLICIT, BIG)):
        planter = Planter(3_150_000 + number * 1000)
        low = table.low_groups(planter, ">" if syntax == BIG else "<", explicit=syntax != IMPLICIT)
        corpus.save(f"odd/low{number}.dcm", objects.ct(_base(planter, 0)), syntax, before=low, planter=planter)
        corpus.optional.add(f"odd/low{number}.dcm")
    for number, syntax in enumerate((EXPLICIT, IMPLICIT)):
        planter = Planter(3_000_000 + number * 50_000)
        data_set = objects.ct(_base(planter, number))
        table.private(data_set, planter, every=True)
        inner = objects.made(PatientID=planter.token())
        table.private(inner, planter, every=True)
        data_set.ReferencedSeriesSequence = [inner]
        corpus.save(f"private/every{number}.dcm", data_set, syntax, planter=planter)
    planter = Planter(3_200_000)
    data_set = objects.ct(_base(planter, 0))
    data_set.IconImageSequence = [
        objects.made(Rows=8, Columns=8, BitsAllocated=8, PixelData=(planter.token() * 10).encode()[:64])
    ]
    data_set.MACParametersSequence = [
        objects.made(MACIDNumber=1, MACAlgorithm="SHA256", DataElementsSigned=[0x00100010])
    ]
    data_set.DigitalSignaturesSequence = [
        objects.made(
            MACIDNumber=1, DigitalSignatureUID=planter.uid(), CertificateType="X509_1993_SIG",
            DigitalSignatureDateTime="20110102030405.000000", Signature=(planter.token() * 9).encode()[:62],
            CertificateOfSigner=(planter.token() * 2).encode(),
        )
    ]  # fmt: skip
    padding = table.element(0xFFFCFFFC, "OB", (planter.token() * 3).encode())
    corpus.save("odd/signed.dcm", data_set, EXPLICIT, after=padding + planter.token().encode() * 2, planter=planter)
    for number, days in enumerate(
        (["2011", "201102", "20110230", "2011.03.04"], ["20110304-20110506", "-20110709", "yesterday", "20111301"])
    ):
        data_set = objects.ct(_base(planter, 0))
        data_set.StudyDate, data_set.SeriesDate, data_set.AcquisitionDate, data_set.ContentDate = days
        data_set.AcquisitionDateTime = ["2009", "200912", "2009121417", "20091214173355.123456-0500"][number * 2]
        data_set.DateOfLastCalibration = ["20110102", "20120103"]
        corpus.save(f"odd/dates{number}.dcm", data_set, EXPLICIT, planter=planter)


def _peculiar(corpus: Corpus) -> None:
    for number, make in enumerate(
        (
            peculiar.character_set_of_an_item, peculiar.several_uids, peculiar.harmless_name,
            peculiar.embedded_overlay, peculiar.enhanced,
        )
    ):  # fmt: skip
        planter = Planter(3_700_000 + number * 1000)
        corpus.save(f"peculiar/{make.__name__}.dcm", make(planter), EXPLICIT, planter=planter)
    planter = Planter(3_720_000)
    for number, data_set in enumerate(peculiar.same_instance_twice(planter)):
        corpus.save(f"peculiar/twice{number}.dcm", data_set, EXPLICIT, planter=planter)
    corpus.save("peculiar/commented.dcm", peculiar.commented(planter), JPEG, planter=planter)
    found = peculiar.media(corpus.root, planter)
    corpus.files += found
    corpus.optional.add("media/DICOMDIR")


def _codestreams(corpus: Corpus) -> None:
    """Comments in codestreams: JPEG and JPEG-LS COM and APPn, JPEG 2000 COM."""
    from pydicom.encaps import encapsulate, generate_frames

    for number, (name, syntax) in enumerate(
        (("MR_small_jpeg_ls_lossless.dcm", JPEG_LS), ("MR_small_jp2klossless.dcm", JPEG_2000), ("MR_small_RLE.dcm", ""))
    ):
        planter = Planter(3_400_000 + number * 1000)
        study = _base(planter, number)
        data_set = objects.mr(study, name)
        frame = next(generate_frames(data_set.PixelData, number_of_frames=1))
        text = f"{study.name} {planter.token()} ".encode()
        text += b"." * (len(text) % 2)
        if syntax == JPEG_2000:
            after_size = 4 + int.from_bytes(frame[4:6], "big")
            frame = frame[:after_size] + b"\xff\x64" + pack(">HH", len(text) + 4, 1) + text + frame[after_size:]
        elif syntax:
            comment = b"\xff\xfe" + pack(">H", len(text) + 2) + text
            frame = frame[:2] + comment + b"\xff\xe1" + pack(">H", len(text) + 8) + b"Exif\0\0" + text + frame[2:]
        data_set.PixelData = encapsulate([frame])
        data_set["PixelData"].VR = "OB"
        data_set["PixelData"].is_undefined_length = True
        syntax = syntax or "1.2.840.10008.1.2.5"
        corpus.save(f"codestreams/{name}", data_set, syntax, planter=planter)


def _unsafe(corpus: Corpus) -> None:
    """What must be held back: burned-in annotation, screens, ultrasound, unknown classes, what cannot be read."""
    planter = Planter(3_600_000)
    burned = objects.ct(_base(planter, 0))
    burned.BurnedInAnnotation = "YES"
    unknown = objects.ct(_base(planter, 0))
    unknown.SOPClassUID = PRIVATE_CLASS
    for name, data_set, syntax in (
        ("burned", burned, EXPLICIT),
        ("private class", unknown, EXPLICIT),
        ("ultrasound", objects.describe(objects.example("ExplVR_BigEnd.dcm"), _base(planter, 1), "US"), BIG),
        ("screen", objects.describe(objects.example("SC_rgb_small_odd.dcm"), _base(planter, 2), "OT"), EXPLICIT),
    ):
        corpus.save(f"unsafe/{name}.dcm", data_set, syntax, planter=planter)
        corpus.unsafe.add(f"unsafe/{name}.dcm")
    whole = (corpus.root / corpus.files[0]).read_bytes()
    for name, data in (
        ("cut.dcm", whole[: len(whole) // 2]), ("empty.dcm", b""), (f"{planter.token()}.txt", b"notes on a patient\n"),
        ("noise.dcm", b"\0" * 128 + b"DICM" + bytes(range(256)) * 3),
    ):  # fmt: skip
        (corpus.root / "unsafe" / name).write_bytes(data)
        corpus.files.append(f"unsafe/{name}")
        corpus.unsafe.add(f"unsafe/{name}")


def main() -> None:
    """From the command line."""
    corpus = build(Path(sys.argv[1]))
    print(f"{len(corpus.files)} files, {len(corpus.unsafe)} unsafe, {len(corpus.optional)} optional")


if __name__ == "__main__":
    main()
