"""XML: well formed whatever the values, and the same as DCMTK's where that is there to ask."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.elements import DataSet, decode, element, encode
from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.xml_model import NAMESPACE, Dcm2xmlWriter, NativeWriter, escape, to_dcm2xml, to_native_xml
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CHARSET, IMAGE_TYPE, MODALITY, NAME, COMMENTS = 0x00080005, 0x00080008, 0x00080060, 0x00100010, 0x00104000
TABLE, STEPS, POINTER, FLOAT, DOUBLE, ROWS = 0x00281201, 0x00400100, 0x00280009, 0x00720076, 0x00189073, 0x00280010
DATE, CONTEXTS, FLOATS, CREATOR, PRIVATE = 0x00080020, 0x00400440, 0x00720067, 0x00090010, 0x00091001
MODEL = f"{{{NAMESPACE}}}"


def example() -> DataSet:
    return {
        ROWS: element(ROWS, "512"),
        CHARSET: element(CHARSET, "ISO_IR 192"),
        IMAGE_TYPE: element(IMAGE_TYPE, "A\\B\\"),
        DATE: element(DATE),
        CREATOR: element(CREATOR, "A&B"),
        PRIVATE: element(PRIVATE, b"\1\2\3\4"),
        NAME: element(NAME, "Müller^Jörg^^Dr.=山田\\E^F^G^H^I"),
        COMMENTS: element(COMMENTS, "a\\b <\"c\" & 'd'>\r\ne"),
        DOUBLE: element(DOUBLE, "2.5\\0.1\\1e-07\\5e+22"),
        POINTER: element(POINTER, "00181063\\0018106A"),
        TABLE: element(TABLE, b"\1\2"),
        STEPS: element(STEPS, [{MODALITY: element(MODALITY, "CT"), COMMENTS: element(COMMENTS, "ab")}, {}]),
        CONTEXTS: element(CONTEXTS, []),
        FLOATS: element(FLOATS, b"\0\0\0\x3f\0\0\x20\x40"),
        FLOAT: element(FLOAT, "0.10000000149011612\\16777216.0"),
    }


NATIVE = f"""<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xml:space="preserve" xmlns="{NAMESPACE}">
<DicomAttribute tag="00080008" vr="CS" keyword="ImageType">
<Value number="1">A</Value>
<Value number="2">B</Value>
<Value number="3"></Value>
</DicomAttribute>
<DicomAttribute tag="00080020" vr="DA" keyword="StudyDate">
</DicomAttribute>
<DicomAttribute tag="00090010" vr="LO">
<Value number="1">A&amp;B</Value>
</DicomAttribute>
<DicomAttribute tag="00090001" vr="UN" privateCreator="A&amp;B">
<InlineBinary>AQIDBA==</InlineBinary>
</DicomAttribute>
<DicomAttribute tag="00100010" vr="PN" keyword="PatientName">
<PersonName number="1">
<Alphabetic>
<FamilyName>Müller</FamilyName>
<GivenName>Jörg</GivenName>
<NamePrefix>Dr.</NamePrefix>
</Alphabetic>
<Ideographic>
<FamilyName>山田</FamilyName>
</Ideographic>
</PersonName>
<PersonName number="2">
<Alphabetic>
<FamilyName>E</FamilyName>
<GivenName>F</GivenName>
<MiddleName>G</MiddleName>
<NamePrefix>H</NamePrefix>
<NameSuffix>I</NameSuffix>
</Alphabetic>
</PersonName>
</DicomAttribute>
<DicomAttribute tag="00280010" vr="US" keyword="Rows">
<Value number="1">512</Value>
</DicomAttribute>
<DicomAttribute tag="00400100" vr="SQ" keyword="ScheduledProcedureStepSequence">
<Item number="1">
<DicomAttribute tag="00080060" vr="CS" keyword="Modality">
<Value number="1">CT</Value>
</DicomAttribute>
</Item>
<Item number="2">
</Item>
</DicomAttribute>
</NativeDicomModel>
"""


def test_native_model():
    chosen = {tag: example()[tag] for tag in (IMAGE_TYPE, DATE, CREATOR, PRIVATE, NAME, ROWS, STEPS)}
    del chosen[STEPS].value[0][COMMENTS]  # type: ignore[union-attr, arg-type]
    assert to_native_xml(chosen) == NATIVE


def test_a_backslash_in_long_text_is_one():
    root = ElementTree.fromstring(to_native_xml(example()))
    values = {one.get("keyword"): [value.text for value in one.findall(f"{MODEL}Value")] for one in root}
    assert values["PatientComments"] == ["a\\b <\"c\" & 'd'>\r\ne"]
    assert values["FrameIncrementPointer"] == ["00181063", "0018106A"]


def test_bulk_data_is_referred_to():
    found = to_native_xml(example(), bulk_data=lambda path, one: "http://x?a&b" if path == (TABLE,) else "")
    assert '<BulkData uri="http://x?a&amp;b"/>' in found
    assert found.count("InlineBinary") == 4


def test_many_data_sets_in_one_document():
    for count in (0, 1, 3):
        native: list[str] = []
        theirs: list[str] = []
        writers = NativeWriter(native.append), Dcm2xmlWriter(theirs.append)
        for writer in writers:
            for _ in range(count):
                writer.add(example())
            writer.close()
        root = ElementTree.fromstring("".join(native))
        assert [one.tag for one in root] == [f"{MODEL}NativeDicomModel"] * count
        root = ElementTree.fromstring("".join(theirs))
        assert (root.tag, root.get("type")) == ("responses", "C-FIND")
        assert [one.tag for one in root] == ["data-set"] * count


DCMTK = """<?xml version="1.0" encoding="UTF-8"?>
<data-set xfer="1.2.840.10008.1.2.1" name="Little Endian Explicit">
<element tag="0008,0005" vr="CS" vm="1" len="10" name="SpecificCharacterSet">ISO_IR 192</element>
<element tag="0008,0008" vr="CS" vm="3" len="4" name="ImageType">A\\B\\</element>
<element tag="0008,0020" vr="DA" vm="0" len="0" name="StudyDate"></element>
<element tag="0009,0010" vr="LO" vm="1" len="4" name="PrivateCreator">A&amp;B</element>
<element tag="0009,1001" vr="UN" vm="1" len="4" name="Unknown Tag &amp; Data" binary="hidden"></element>
<element tag="0010,0010" vr="PN" vm="2" len="36" name="PatientName">Müller^Jörg^^Dr.=山田\\E^F^G^H^I</element>
<element tag="0010,4000" vr="LT" vm="1" len="18" name="PatientComments">\
a\\b &lt;&quot;c&quot; &amp; &apos;d&apos;&gt;&#13;&#10;e</element>
<element tag="0018,9073" vr="FD" vm="4" len="32" name="AcquisitionDuration">2.5\\0.1\\1e-07\\5e+22</element>
<element tag="0028,0009" vr="AT" vm="2" len="8" name="FrameIncrementPointer">(0018,1063)\\(0018,106a)</element>
<element tag="0028,0010" vr="US" vm="1" len="2" name="Rows">512</element>
<element tag="0028,1201" vr="OW" vm="1" len="2" name="RedPaletteColorLookupTableData" binary="hidden"></element>
<sequence tag="0040,0100" vr="SQ" card="2" len="36" name="ScheduledProcedureStepSequence">
<item card="2" len="20">
<element tag="0008,0060" vr="CS" vm="1" len="2" name="Modality">CT</element>
<element tag="0010,4000" vr="LT" vm="1" len="2" name="PatientComments">ab</element>
</item>
<item card="0" len="0">
</item>
</sequence>
<sequence tag="0040,0440" vr="SQ" card="0" len="0" name="ProtocolContextSequence">
</sequence>
<element tag="0072,0067" vr="OF" vm="1" len="8" name="SelectorOFValue">0.5\\2.5</element>
<element tag="0072,0076" vr="FL" vm="2" len="8" name="SelectorFLValue">0.100000001\\16777216</element>
</data-set>
"""


def test_dcmtk_form():
    assert to_dcm2xml(example()) == DCMTK


def test_dcmtk_form_tells_of_utf8():
    data_set = example() | {CHARSET: element(CHARSET, "ISO_IR 100")}
    assert to_dcm2xml(data_set) == DCMTK
    del data_set[CHARSET]
    assert "0008,0005" not in to_dcm2xml(data_set)


def test_dcmtk_form_in_implicit_vr():
    found = to_dcm2xml(example(), IMPLICIT_VR_LITTLE_ENDIAN)
    assert '<data-set xfer="1.2.840.10008.1.2" name="Little Endian Implicit">' in found
    nested = {STEPS: element(STEPS, [{CONTEXTS: element(CONTEXTS, [{}])}])}
    assert 'card="1" len="28"' in to_dcm2xml(nested)
    assert 'card="1" len="24"' in to_dcm2xml(nested, IMPLICIT_VR_LITTLE_ENDIAN)
    assert 'name="Big Endian Explicit"' in to_dcm2xml({}, EXPLICIT_VR_BIG_ENDIAN)
    assert 'name="Unknown Transfer Syntax"' in to_dcm2xml({}, "1.2.3")


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dcm2xml") is None, reason="dcm2xml is not installed")
@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_the_same_as_dcm2xml(tmp_path: Path, syntax: str, charset: str):
    data_set = example() | {CHARSET: element(CHARSET, charset)}
    data_set[NAME] = element(NAME, "Müller^Jörg^^Dr.=X\\E^F^G^H^I")
    path = tmp_path / "x.dcm"
    path.write_bytes(file_meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", syntax) + encode(data_set, syntax))
    found = subprocess.run(["dcm2xml", "-q", "+U8", path], capture_output=True, check=True, encoding="utf-8").stdout
    theirs = found[found.index("<data-set") :].removesuffix("</file-format>\n")
    ours = to_dcm2xml(decode(encode(data_set, syntax), syntax), syntax).partition("\n")[2]
    assert ours == theirs


# --- values no one expects ---


def test_what_xml_cannot_hold():
    assert escape("a\0b\x1b[31m\x0b\ud800\ufffe😀") == "a�b�[31m���😀"
    assert escape("<&>\"'\t\r\n") == "&lt;&amp;&gt;&quot;&apos;\t&#13;&#10;"
    assert escape("]]>") == "]]&gt;"
    assert escape("plain ^=\\ text.") == "plain ^=\\ text."


TEXT = st.text(max_size=30) | st.text("<>&\"'\0\x1b\r\n\\^=]", max_size=20)


@given(TEXT, st.sampled_from(["PN", "LO", "LT", "FD", "US", "AT", "UI"]), st.binary(max_size=9))
def test_every_value_makes_well_formed_xml(value: str, vr: str, raw: bytes):
    data_set: DataSet = {
        CREATOR: element(CREATOR, value),
        PRIVATE: element(PRIVATE, value, vr),
        TABLE: element(TABLE, raw),
        FLOATS: element(FLOATS, raw),
        STEPS: element(STEPS, [{COMMENTS: element(COMMENTS, value)}]),
    }
    for document in (to_native_xml(data_set), to_dcm2xml(data_set)):
        root = ElementTree.fromstring(document.encode("utf-8"))
        texts = [one.text for one in root.iter() if one.tag in (f"{MODEL}Value", "element")]
        if value.strip() and not re.search("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", value):
            assert value in texts
