"""OHIF, as npm has it, opens a study from `dcmkit web` in a headless Chromium: it lists, shows, scrolls and windows it.

`python tools/fetch_ohif.py` fetches the viewer; without it, or without Chromium, this is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from .chromium import HEIGHT, WIDTH, Page, chromium_path, page
from .peers import dcmkit_command
from .process import listens, serving

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

DIST = Path(os.environ.get("DCMKIT_OHIF", Path(__file__).parents[2] / "build" / "ohif" / "dist"))
STUDY = "1.2.826.0.1.3680043.9.9999.88"
SLICES = 12


def make_slice(folder: Path, number: int) -> Path:
    """A bright disk, larger from slice to slice, on grey."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{STUDY}.1.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, f"{STUDY}.1"
    data.FrameOfReferenceUID = f"{STUDY}.2"
    data.PatientName, data.PatientID, data.Modality = "Viewer^Vera", "V1", "CT"
    data.StudyDate, data.StudyTime, data.SeriesNumber, data.InstanceNumber = "20240517", "101500", 1, number
    data.StudyDescription, data.SeriesDescription = "Disk", "Growing"
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, number * 2.0], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], 2
    data.Rows = data.Columns = 128
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleIntercept, data.RescaleSlope, data.WindowCenter, data.WindowWidth = 0, 1, 500, 1000
    y, x = np.mgrid[:128, :128]
    pixels = np.where((x - 64) ** 2 + (y - 64) ** 2 < (6 + 2.5 * number) ** 2, 900, 300).astype("<i2")
    data.PixelData = pixels.tobytes()
    path = folder / f"{number:02}.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    if chromium_path() is None:
        pytest.skip("Chromium is absent")
    if not (DIST / "index.html").exists():
        pytest.skip("OHIF is absent: python tools/fetch_ohif.py")
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(1, SLICES + 1):
        make_slice(archive, number)

    def command(port: int) -> list[str | os.PathLike[str]]:
        return dcmkit_command("web", str(port), "-od", archive, "--ohif", DIST)

    with serving("dcmkit-web", command, tmp_path, ready=listens) as server:
        yield server.port


def brightness(picture: bytes, box: dict[str, float]) -> tuple[float, float]:
    """Of the middle of the image, and of its edge, 0 to 255."""
    image = imagecodecs.png_decode(picture)[..., :3].mean(axis=2)
    x, y = int(box["x"] + box["width"] / 2), int(box["y"] + box["height"] / 2)
    side = int(min(box["width"], box["height"]) / 2 * 0.85)
    return float(image[y - 8 : y + 8, x - 8 : x + 8].mean()), float(
        image[y - side : y - side + 8, x - 4 : x + 4].mean()
    )


def shown(browser: Page) -> int:
    """Which slice the viewer says it shows."""
    found = browser.wait_for(f"(document.body.innerText.match(/(\\d+)\\s*\\/\\s*{SLICES}|I:\\s*(\\d+)/) || [''])[0]")
    return int("".join(char if char.isdigit() else " " for char in found).split()[0])


def test_a_study_is_listed_shown_scrolled_and_windowed(port: int, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{port}"
    with page(tmp_path / "profile") as browser:
        browser.call("Page.navigate", url=f"{base}/ohif/")
        browser.wait_for("document.body.innerText.includes('Viewer') && document.body.innerText.includes('V1')")

        browser.call("Page.navigate", url=f"{base}/ohif/viewer?StudyInstanceUIDs={STUDY}")
        browser.wait_for("!!document.querySelector('canvas.cornerstone-canvas')")
        for button in ("Confirm and hide", "Skip all"):
            click = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() == '%s')"
            browser.wait_for(f"!!({click % button}) && (({click % button}).click(), true)")
        first = shown(browser)
        box = browser.evaluate(
            "(r => ({x: r.x, y: r.y, width: r.width, height: r.height}))"
            "(document.querySelector('canvas.cornerstone-canvas').getBoundingClientRect())"
        )
        assert box["width"] > 200
        assert box["x"] + box["width"] <= WIDTH
        assert box["y"] + box["height"] <= HEIGHT
        middle, edge = settled(browser, box, lambda middle, edge: middle > 180 and 40 < edge < 120)
        assert middle > edge

        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for _ in range(3):
            browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=120)
        browser.wait_for(f"!document.body.innerText.match(/\\b{first}\\s*\\/\\s*{SLICES}\\b|I:\\s*{first}\\b/)")
        assert shown(browser) != first

        _, before = brightness(browser.screenshot(), box)
        browser.drag(x, y, 0, 150)  # left button: window level
        settled(browser, box, lambda middle, edge: abs(edge - before) > 8)

        elsewhere = [url for url in browser.requests() if not url.startswith((base, "blob:", "data:", "about:"))]
        assert not elsewhere
        failed = [
            event["params"]["response"]["url"] for event in browser.events
            if event.get("method") == "Network.responseReceived" and event["params"]["response"]["status"] >= 400
        ]  # fmt: skip
        assert not [url for url in failed if "/dicom-web/" in url]


def settled(browser: Page, box: dict[str, float], good: object) -> tuple[float, float]:
    """The brightness of the picture, once it is as it should be."""
    for _ in range(100):
        found = brightness(browser.screenshot(), box)
        if good(*found):  # type: ignore[operator]
            return found
        browser.evaluate("new Promise(done => setTimeout(done, 100))")
    raise AssertionError(f"the middle of the image is {found[0]:.0f} bright, its edge {found[1]:.0f}")
