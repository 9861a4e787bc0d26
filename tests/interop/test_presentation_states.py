"""Images under presentation states, compared with what DCMTK's dcmp2pgm shows under the same ones, pixel by pixel.

The states are made of images by DCMTK's dcmpsmk and changed here. One grey level of difference is allowed: DCMTK cuts
fractions off. It shows neither displayed areas nor annotations, overlays and shutters (its viewer does), and does not
know the VOI LUT functions that came after it; they are not asked for.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.presentation import read_state
from dcmkit.pixels.render import Rendering, render

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        shutil.which("dcmp2pgm") is None or shutil.which("dcmpsmk") is None, reason="DCMTK's dcmpstat is not installed"
    ),
]

IMAGES = ("CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm")
MODALITY = ("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence")


def item(**elements):
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def lut(first, bits, entries, **elements):
    made = item(**elements)
    made.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    made.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return made


def without(*keywords, **elements):
    """A change of a state: elements that go, then those that come."""

    def change(state):
        for keyword in keywords:
            if keyword in state:
                del state[keyword]
        for keyword, value in elements.items():
            setattr(state, keyword, value)

    return change


VOI = "SoftcopyVOILUTSequence"
WINDOW = {VOI: [item(WindowCenter="300", WindowWidth="600")]}
SHAPE, TABLE = "PresentationLUTShape", "PresentationLUTSequence"
RAMP = np.arange(1024)

STATES = {
    "as made": without(),
    "window": without(**WINDOW),
    "VOI LUT": without(**{VOI: [item(VOILUTSequence=[lut(100, 12, RAMP[:512] ** 2 // 64)])]}),
    "no VOI": without(VOI),
    "no modality": without(*MODALITY, **WINDOW),
    "neither": without(*MODALITY, VOI),
    "rescaled": without(*MODALITY, RescaleSlope="2", RescaleIntercept="-100", RescaleType="US", **WINDOW),
    "modality LUT": without(*MODALITY, ModalityLUTSequence=[lut(0, 12, RAMP * 3, ModalityLUTType="US")], **WINDOW),
    "modality LUT only": without(*MODALITY, VOI, ModalityLUTSequence=[lut(0, 12, RAMP * 3, ModalityLUTType="US")]),
    "inverse": without(TABLE, **{SHAPE: "INVERSE"}, **WINDOW),
    "presentation LUT": without(SHAPE, **{TABLE: [lut(0, 10, 1023 - RAMP[:256] * 3)]}, **WINDOW),
    "turned": without(ImageRotation=90, ImageHorizontalFlip="N", **WINDOW),
    "turned and flipped": without(ImageRotation=270, ImageHorizontalFlip="Y", **WINDOW),
    "upside down": without(ImageRotation=180, ImageHorizontalFlip="N", **WINDOW),
    "flipped": without(ImageRotation=0, ImageHorizontalFlip="Y", **WINDOW),
}


def read_pgm(path):
    magic, size, pixels = path.read_bytes().split(b"\n", 2)
    assert magic == b"P5"
    columns, rows, _ = map(int, size.split())
    return np.frombuffer(pixels, np.uint8, rows * columns).reshape(rows, columns).astype(int)


def differences(image, change, directory):
    """Ours less theirs, of an image under a state."""
    state, picture = directory / "state.dcm", directory / "picture.pgm"
    made = subprocess.run(["dcmpsmk", "-q", "--overlay-ignore", image, state], capture_output=True)
    if made.returncode:
        pytest.skip("this dcmpsmk cannot read it")
    changed = pydicom.dcmread(state)
    change(changed)
    changed.save_as(state)
    subprocess.run(["dcmp2pgm", "-q", "-p", state, image, picture], check=True, capture_output=True)
    with ImageFile(str(image)) as file:
        how = Rendering(state=read_state(state), padding=False, annotations=False)
        return render(file, 0, how).astype(int) - read_pgm(picture)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("state", STATES)
def test_the_same_picture(name, state, tmp_path):
    assert abs(differences(get_testdata_file(name), STATES[state], tmp_path)).max() <= 1


@pytest.mark.parametrize("state", ["as made", "window", "inverse"])
def test_images_whose_low_values_are_bright(state, tmp_path):
    image = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    image.PhotometricInterpretation = "MONOCHROME1"
    image.save_as(tmp_path / "image.dcm")
    assert abs(differences(tmp_path / "image.dcm", STATES[state], tmp_path)).max() <= 1
