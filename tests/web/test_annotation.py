"""Texts on rendered images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcmkit.pixels.image_file import ImageFile
from dcmkit.web.annotation import annotated, lines_of
from dcmkit.web.rendering import PATIENT, TECHNIQUE
from tests.pixels.files import attributes, native
from tests.pixels.test_presentation import made


def test_lines_of_the_patient():
    data_set = made(PatientName="Doe^Jane=山田", PatientID="4711", PatientBirthDate="19700101", PatientSex="F")
    assert lines_of(data_set, PATIENT) == ["Doe Jane", "ID 4711", "born 19700101  F"]
    assert lines_of({}, PATIENT) == []
    assert lines_of(made(PatientID="a\x1b[31m" + "x" * 100), PATIENT)[0].startswith("ID a [31mx")


def test_lines_of_the_technique():
    data_set = made(Modality="CT", StudyDate="20240131", StudyTime="101500.123", KVP="120", SliceThickness="1.5")
    assert lines_of(data_set, TECHNIQUE) == ["CT", "20240131  101500", "120 kV", "1.5 mm"]


def test_places(tmp_path: Path):
    with ImageFile(native(tmp_path / "image", bytes(6), attributes())) as image:
        for shape in ((60, 80), (60, 80, 3), (1, 1), (900, 900)):
            picture = np.full(shape, 100, np.uint8)
            found = annotated(picture, image, (PATIENT, TECHNIQUE))
            assert found.shape == shape
            assert (picture == 100).all()  # it is a copy
            if shape[0] > 1:
                assert found[: shape[0] // 2].max() == 255
                assert found[: shape[0] // 2].min() == 25
                assert (found[shape[0] // 2 :] == 100).all()
