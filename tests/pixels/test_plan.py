"""Which way from one transfer syntax into another."""

from __future__ import annotations

import pytest

from dcmkit.errors import UnsupportedSyntaxError, UsageError
from dcmkit.pixels import plan, syntaxes
from dcmkit.pixels.description import FLOAT_PIXEL_DATA, PixelDescription
from dcmkit.pixels.plan import Steps, named, refusal

CT = PixelDescription(512, 512, bits_stored=12, high_bit=11)
US = PixelDescription(480, 640, 3, "RGB", 8, 8, 7)
MPEG2 = "1.2.840.10008.1.2.4.100"


@pytest.mark.parametrize(
    ("source", "target", "action"),
    [
        ("implicit", "explicit", plan.COPY),
        ("explicit", "deflated", plan.COPY),
        ("explicit", "rle", plan.ENCODE),
        ("rle", "explicit", plan.DECODE),
        ("rle", "jpegls", plan.RECODE),
        ("jpeg-lossless", "jpeg-lossless-14", plan.RELABEL),
        ("jpegls", "jpegls-near", plan.RELABEL),
        ("j2k", "j2k-lossy", plan.RELABEL),
        ("htj2k-rpcl", "htj2k", plan.RELABEL),
        ("htj2k", "htj2k-lossy", plan.RELABEL),
        ("jpeg", "jxl-jpeg", plan.RECOMPRESS),
        ("jxl-jpeg", "jpeg", plan.RECOMPRESS),
        ("rle", "rle", plan.RELABEL),
        ("explicit", "explicit", plan.COPY),
        ("encapsulated", "explicit", plan.DECODE),
    ],
)
def test_actions(source, target, action):
    steps = plan.plan(US, named(source), named(target))
    assert (steps.action, steps.condition, steps.lossy) == (action, "", False)


@pytest.mark.parametrize(
    ("source", "target", "condition", "lossy"),
    [
        ("jpeg-lossless-14", "jpeg-lossless", plan.SV1_PREDICTOR, False),
        ("jpegls-near", "jpegls", plan.IS_LOSSLESS, False),
        ("j2k-lossy", "j2k", plan.IS_LOSSLESS, False),
        ("jpeg-extended", "jpeg", plan.BASELINE_PROCESS, True),
    ],
)
def test_what_only_the_codestream_tells(source, target, condition, lossy):
    steps = plan.plan(US, named(source), named(target))
    assert (steps.action, steps.condition) == (plan.RELABEL, condition)
    assert steps.fallback() == Steps(named(source), named(target), plan.RECODE, lossy)


def test_what_cannot_be_encoded_may_still_be_relabelled():
    steps = plan.plan(CT, syntaxes.JPEG_EXTENDED, syntaxes.JPEG_BASELINE)
    assert (steps.condition, steps.otherwise) == (plan.BASELINE_PROCESS, "")


def test_relabelling_can_be_left_out():
    assert plan.plan(US, named("j2k"), named("j2k-lossy"), relabel=False) == Steps(
        named("j2k"), named("j2k-lossy"), plan.RECODE, lossy=True
    )
    assert plan.plan(US, named("jpeg"), named("jpeg"), force=True).action == plan.RECODE


def test_without_pixels_nothing_is_compressed():
    assert plan.plan(None, syntaxes.IMPLICIT, syntaxes.RLE) == Steps(syntaxes.IMPLICIT, syntaxes.EXPLICIT, plan.COPY)
    assert plan.plan(None, syntaxes.RLE, syntaxes.RLE).target == syntaxes.RLE


def test_video_is_passed_on_or_refused():
    assert plan.plan(US, MPEG2, MPEG2).action == plan.RELABEL
    with pytest.raises(UnsupportedSyntaxError, match="cannot be decoded here"):
        plan.plan(US, MPEG2, syntaxes.EXPLICIT)
    with pytest.raises(UnsupportedSyntaxError, match="cannot be encoded here"):
        plan.plan(US, syntaxes.EXPLICIT, MPEG2)


@pytest.mark.parametrize(
    ("description", "target", "reason"),
    [
        (CT, "jpeg", "12 bits"),
        (CT._replace(bits_stored=16), "jpeg-extended", "16 bits"),
        (CT._replace(pixel_representation=1), "jpeg-extended", "signed"),
        (CT._replace(bits_allocated=32, bits_stored=32), "jpegls", "32 bits"),
        (CT._replace(bits_allocated=1, bits_stored=1), "jpeg-lossless", "1 bits"),
        (CT._replace(bits_allocated=1, bits_stored=1), "j2k-lossy", "single bits"),
        (US._replace(samples_per_pixel=1, photometric_interpretation="PALETTE COLOR"), "jpeg", "palette"),
        (US._replace(samples_per_pixel=4), "jpegls", "4 samples"),
        (CT._replace(element=FLOAT_PIXEL_DATA), "rle", "float"),
    ],
)
def test_what_a_syntax_cannot_hold(description, target, reason):
    assert reason in refusal(description, named(target))
    with pytest.raises(UnsupportedSyntaxError, match="cannot hold it"):
        plan.plan(description, syntaxes.EXPLICIT, named(target))


def test_everything_encoded_can_be_asked_about():
    for target in plan.ENCODED:
        assert isinstance(refusal(US, target), str)


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("rle", syntaxes.RLE), ("RLELossless", syntaxes.RLE), (syntaxes.RLE, syntaxes.RLE),
        ("HTJ2K", "1.2.840.10008.1.2.4.201"),
        ("jpeg_lossless", "1.2.840.10008.1.2.4.70"), ("JPEG2000", syntaxes.JPEG_2000_LOSSLESS),
    ],
)  # fmt: skip
def test_names(text, uid):
    assert named(text) == uid


@pytest.mark.parametrize("text", ["", "gif", "CTImageStorage", "1.2.3"])
def test_what_is_no_transfer_syntax(text):
    with pytest.raises(UsageError, match="is no transfer syntax"):
        named(text)
