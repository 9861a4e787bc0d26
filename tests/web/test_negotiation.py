"""What is sent to whom: PS3.18 8.7.8, by resource."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.pixels import syntaxes
from dcmkit.pixels.syntaxes import EXPLICIT, HTJ2K_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_BASELINE, JPEG_LS, RLE
from dcmkit.web.media_types import MediaTypeError
from dcmkit.web.negotiation import (
    ANY,
    FRAME_TYPES,
    Choice,
    NotAcceptableError,
    Offer,
    bulk_data_offers,
    frame_offers,
    frame_type,
    instance_offers,
    metadata_offers,
    rendered_offers,
    search_offers,
    select,
)

ENCODABLE = (EXPLICIT, JPEG_LS, RLE, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, JPEG_BASELINE, syntaxes.JPEG_LOSSLESS_SV1)
STUDY = instance_offers(ENCODABLE)
INSTANCE = instance_offers(ENCODABLE, stored=JPEG_LS, one=True)
FRAMES = frame_offers(EXPLICIT, ENCODABLE)
FRAME_OF_JPEG_LS = frame_offers(JPEG_LS, ENCODABLE, one=True)
RENDERED = rendered_offers(("image/jpeg", "image/png", "image/gif", "image/webp"), one=True)
VIDEO = "1.2.840.10008.1.2.4.102"
DICOM, ZIP, OCTETS = "application/dicom", "application/zip", "application/octet-stream"
JSON, XML = "application/dicom+json", "application/dicom+xml"


def parts(media_type, **more):
    return f'multipart/related; type="{media_type}"' + "".join(
        f"; {name.replace('_', '-')}={value}" for name, value in more.items()
    )


@pytest.mark.parametrize(
    ("offers", "accept", "choice"),
    [
        # studies and instances
        (STUDY, None, (DICOM, EXPLICIT, True)),
        (STUDY, "*/*", (DICOM, EXPLICIT, True)),
        (STUDY, "multipart/related", (DICOM, EXPLICIT, True)),
        (STUDY, "multipart/*", (DICOM, EXPLICIT, True)),
        (STUDY, parts(DICOM), (DICOM, EXPLICIT, True)),
        (STUDY, "multipart/related; type=application/dicom", (DICOM, EXPLICIT, True)),
        (STUDY, parts("application/*"), (DICOM, EXPLICIT, True)),
        (STUDY, parts(DICOM, transfer_syntax="*"), (DICOM, ANY, True)),
        (STUDY, parts(DICOM, transfer_syntax=JPEG_LS), (DICOM, JPEG_LS, True)),
        (STUDY, parts(DICOM, transfer_syntax=JPEG_LS) + ";q=0.1," + parts(DICOM), (DICOM, EXPLICIT, True)),
        (STUDY, parts(DICOM, transfer_syntax="1.2.3") + "," + parts(DICOM, transfer_syntax=RLE), (DICOM, RLE, True)),
        (STUDY, "application/zip", (ZIP, EXPLICIT, False)),
        (STUDY, "application/zip; transfer-syntax=*", (ZIP, ANY, False)),
        (STUDY, "application/dicom, application/zip;q=0.5", (ZIP, EXPLICIT, False)),
        (INSTANCE, DICOM, (DICOM, EXPLICIT, False)),
        (INSTANCE, "*/*", (DICOM, EXPLICIT, True)),
        (INSTANCE, DICOM + "; transfer-syntax=*", (DICOM, JPEG_LS, False)),
        (INSTANCE, parts(DICOM, transfer_syntax="*") + "," + DICOM, (DICOM, JPEG_LS, True)),
        (STUDY, parts(DICOM, transfer_syntax="*") + "," + parts(DICOM, transfer_syntax=RLE), (DICOM, ANY, True)),
        (INSTANCE, DICOM + ";q=0.5, " + parts(DICOM) + ";q=0.4", (DICOM, EXPLICIT, False)),
        # frames
        (FRAMES, None, (OCTETS, EXPLICIT, True)),
        (FRAMES, parts(OCTETS, transfer_syntax="*"), (OCTETS, EXPLICIT, True)),
        (FRAMES, parts(OCTETS, transfer_syntax=EXPLICIT), (OCTETS, EXPLICIT, True)),
        (FRAMES, parts("image/jls"), ("image/jls", JPEG_LS, True)),
        (FRAMES, parts("image/x-jls"), ("image/jls", JPEG_LS, True)),
        (FRAMES, parts("image/jpeg"), ("image/jpeg", syntaxes.JPEG_LOSSLESS_SV1, True)),
        (FRAMES, parts("image/jpeg", transfer_syntax=JPEG_BASELINE), ("image/jpeg", JPEG_BASELINE, True)),
        (FRAMES, parts("image/jphc") + ";q=0.2," + parts("image/jp2"), ("image/jp2", JPEG_2000_LOSSLESS, True)),
        (FRAME_OF_JPEG_LS, parts(OCTETS, transfer_syntax="*"), (OCTETS, JPEG_LS, True)),
        (FRAME_OF_JPEG_LS, parts(OCTETS), (OCTETS, EXPLICIT, True)),
        (FRAME_OF_JPEG_LS, "image/jls", ("image/jls", JPEG_LS, False)),
        (FRAME_OF_JPEG_LS, parts("image/*"), ("image/jls", JPEG_LS, True)),
        (FRAME_OF_JPEG_LS, "application/octet-stream", (OCTETS, EXPLICIT, False)),
        (frame_offers(JPEG_BASELINE, ENCODABLE), parts("image/jpeg"), ("image/jpeg", JPEG_BASELINE, True)),
        (frame_offers(syntaxes.IMPLICIT, ENCODABLE), parts(OCTETS, transfer_syntax="*"), (OCTETS, EXPLICIT, True)),
        (frame_offers(VIDEO, ()), None, ("video/mp4", VIDEO, True)),
        (frame_offers(VIDEO, ()), parts(OCTETS), (OCTETS, VIDEO, True)),
        # metadata and search
        (metadata_offers(), None, (JSON, "", False)),
        (metadata_offers(), "application/json", ("application/json", "", False)),
        (metadata_offers(), "application/json, application/dicom+json", ("application/json", "", False)),
        (metadata_offers(), parts(XML), (XML, "", True)),
        (metadata_offers(), "application/dicom+json; transfer-syntax=1.2", (JSON, "", False)),
        (metadata_offers(one=True), XML, (XML, "", False)),
        (metadata_offers(), "application/*", (JSON, "", False)),
        (search_offers(), "text/csv, application/dicom+json;q=0.5", ("text/csv", "", False)),
        # rendered
        (RENDERED, None, ("image/jpeg", "", False)),
        (RENDERED, "image/png", ("image/png", "", False)),
        (RENDERED, "image/*, image/jpeg;q=0.1", ("image/png", "", False)),
        (RENDERED, "image/jpeg;q=0, */*", ("image/png", "", False)),
        (RENDERED, parts("image/png"), ("image/png", "", True)),
        (RENDERED, "text/html,image/avif,image/webp,*/*;q=0.8", ("image/webp", "", False)),
        (RENDERED, "*/*, image/gif", ("image/gif", "", False)),
        (rendered_offers(("image/jpeg",), one=False), "*/*", ("image/jpeg", "", True)),
        # bulk data
        (bulk_data_offers("application/pdf"), "application/pdf", ("application/pdf", "", False)),
        (bulk_data_offers("application/pdf"), "*/*", (OCTETS, "", True)),
        (bulk_data_offers(), parts(OCTETS), (OCTETS, "", True)),
    ],
)  # fmt: skip
def test_the_best_is_chosen(offers, accept, choice):
    assert select(offers, accept) == Choice(*choice)


@pytest.mark.parametrize(
    ("offers", "accept"),
    [
        (STUDY, DICOM),  # PS3.18 10.4.4: single part is for instances
        (STUDY, parts(DICOM, transfer_syntax="1.2.3")),
        (STUDY, parts(DICOM) + ";q=0"),
        (STUDY, parts(JSON)),
        (STUDY, "image/jpeg"),
        (INSTANCE, DICOM + "; transfer-syntax=" + syntaxes.IMPLICIT),
        (FRAMES, "application/octet-stream"),
        (FRAMES, parts("image/jp2", transfer_syntax=JPEG_LS)),
        (frame_offers(VIDEO, ()), parts("image/jpeg")),
        (metadata_offers(), XML),
        (metadata_offers(), parts(JSON)),
        (rendered_offers(("image/jpeg",), one=False), "image/jpeg"),
        (RENDERED, "text/html"),
        (RENDERED, "image/*;q=0, */*;q=0"),
    ],
)
def test_not_acceptable(offers, accept):
    with pytest.raises(NotAcceptableError, match="offered are") as caught:
        select(offers, accept)
    assert caught.value.http_status == 406


def test_the_query_comes_first():
    """PS3.18 8.7.8.1."""
    assert select(RENDERED, "image/jpeg", "image/png").media_type == "image/png"
    assert select(RENDERED, "image/jpeg", "text/html").media_type == "image/jpeg"
    assert select(RENDERED, None, "image/gif;q=0.1").media_type == "image/gif"
    assert select(metadata_offers(), "*/*", "multipart/related; type=application/dicom xml") == Choice(XML, "", True)
    with pytest.raises(NotAcceptableError):
        select(RENDERED, None, "text/html")
    with pytest.raises(NotAcceptableError):
        select(RENDERED, "text/html", "text/html")


def test_content_types():
    assert Choice(JSON, "", False).content_type() == JSON
    assert Choice(DICOM, EXPLICIT, True).content_type("B") == 'multipart/related; type="application/dicom"; boundary=B'
    assert Choice(DICOM, EXPLICIT, True).part_type() == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert Choice(DICOM, ANY, True).part_type(RLE) == f"application/dicom; transfer-syntax={RLE}"
    assert Choice(DICOM, ANY, False).content_type() == DICOM


def test_frame_types():
    assert frame_type(JPEG_LS) == "image/jls"
    assert frame_type(EXPLICIT) == OCTETS
    assert len({uid for uids in FRAME_TYPES.values() for uid in uids}) == sum(map(len, FRAME_TYPES.values()))


def test_what_shall_not_be_used_is_not_offered():
    """PS3.18 8.7.3: neither implicit VR nor big endian."""
    offers = instance_offers((EXPLICIT, syntaxes.IMPLICIT, syntaxes.BIG_ENDIAN), stored=syntaxes.IMPLICIT, one=True)
    assert offers[0].transfer_syntaxes == (EXPLICIT,)
    assert select(offers, DICOM + ";transfer-syntax=*").transfer_syntax == syntaxes.IMPLICIT  # as stored is as stored


names = st.sampled_from(["*/*", "image/*", "image/jpeg", "multipart/related", DICOM, OCTETS, "application/*", "x", ""])
values = st.sampled_from(["*", EXPLICIT, JPEG_LS, '"application/dicom"', "image/*", "0", "0.5", "1", "nan", '"', ""])
pieces = st.tuples(names, st.lists(st.tuples(st.sampled_from(["type", "transfer-syntax", "q"]), values), max_size=3))


@given(st.lists(pieces, max_size=6), st.sampled_from([STUDY, INSTANCE, FRAMES, RENDERED, metadata_offers()]))
def test_whatever_is_accepted_is_answered_with_what_is_offered(accepted, offers):
    text = ",".join(name + "".join(f"; {key}={value}" for key, value in more) for name, more in accepted)
    with contextlib.suppress(MediaTypeError):
        choice = select(offers, text)
        [offer] = [offer for offer in offers if offer.media_type == choice.media_type]
        assert choice.multipart in offer.forms
        assert choice.transfer_syntax in (*offer.transfer_syntaxes, offer.stored, "")


def test_a_long_list_is_bounded():
    many = [Offer(f"image/{number}") for number in range(40)]
    accept = ",".join(f"image/*;q=0.{number:03}" for number in range(400))
    assert select(many, accept).media_type == "image/0"
