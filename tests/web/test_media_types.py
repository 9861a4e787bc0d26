"""Media types as strangers write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.web.media_types import (
    MAX_RANGES,
    MediaRange,
    MediaType,
    MediaTypeError,
    StoreContent,
    UnsupportedMediaTypeError,
    covers,
    parse_accept,
    parse_disposition,
    parse_media_type,
    parse_store_content,
    quote,
)


def one(text, **more):
    [media_range] = parse_accept(text, **more)
    return media_range


def test_content_types():
    assert parse_media_type("Application/DICOM") == MediaType("application/dicom", {})
    quoted = 'multipart/related; type="application/dicom"; boundary="a \\"b\\";c"'
    assert parse_media_type(quoted).parameters == {"type": "application/dicom", "boundary": 'a "b";c'}
    assert parse_media_type("image/jls ; Transfer-Syntax = 1.2.3 ;;").parameters == {"transfer-syntax": "1.2.3"}
    assert parse_media_type("image/x-jls").name == "image/jls"


@pytest.mark.parametrize(
    "text",
    ["", "application", "/", "a/", "a b/c", 'a/b; c="d', "a/b; c", "a/b, c/d", "a/b; c=d; C=e", "a/b" + ";c=d" * 9999],
)
def test_what_is_no_content_type(text):
    with pytest.raises(MediaTypeError) as caught:
        parse_media_type(text)
    assert caught.value.http_status == 400


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(st.characters(codec="latin-1"))))
def test_what_is_written_is_read(parameters):
    written = str(MediaType("a/b", parameters))
    assert "\r" not in written
    assert "\n" not in written
    read = parse_media_type(written).parameters
    assert list(read) == list(parameters)
    for name, value in parameters.items():
        assert read[name] == value or not value.replace("\t", " ").isprintable()


def test_quoting():
    assert [quote(value) for value in ("1.2", "*", "a/b", 'a"\\', "a\r\nb", "")] == [
        "1.2", "*", '"a/b"', '"a\\"\\\\"', '"a  b"', '""',
    ]  # fmt: skip


def test_accept_of_viewers():
    """OHIF leaves the type unquoted, dicomweb-client quotes it."""
    for kind in ("application/octet-stream", '"application/octet-stream"'):
        media_range = one(f"multipart/related; type={kind}; transfer-syntax=*")
        assert media_range == MediaRange(
            "multipart", "related", {"type": "application/octet-stream", "transfer-syntax": "*"}, 1.0
        )
    several = parse_accept('text/html,application/dicom+json;q=0.9 , */*;q=0.8,image/*;Q=".5"')
    assert [(str(item.type), item.subtype, item.quality) for item in several] == [
        ("text", "html", 1.0), ("application", "dicom+json", 0.9), ("*", "*", 0.8), ("image", "*", 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize("text", [None, "", "  ", "*/*", "*", "*;q=1.0"])
def test_anything(text):
    assert one(text) == MediaRange("*", "*", {}, 1.0)


def test_pieces_that_are_no_range_are_passed_over():
    text = 'nonsense, a/b;q=nan, a/b;q=-1, a/b;q=2, a/b;q=, a/b;q=1e9, a/b;x="open, image/png;q=.2, c/d e'
    assert one(text) == MediaRange("image", "png", {}, 0.2)
    assert one("a/b; q=1.9").quality == 1.0
    with pytest.raises(MediaTypeError) as caught:
        parse_accept("nonsense, more")
    assert caught.value.http_status == 400


def test_accept_is_bounded():
    assert len(parse_accept(",".join(["a/b"] * 1000))) == MAX_RANGES
    with pytest.raises(MediaTypeError):
        parse_accept("a/b," * 5000)
    with pytest.raises(MediaTypeError):
        parse_accept('a/b;c="' * 1000)


def test_a_plus_lost_in_a_query():
    assert one("application/dicom json", query=True).subtype == "dicom+json"
    assert one("application/dicom+xml", query=True).subtype == "dicom+xml"


def test_covers():
    assert covers("image/*", "image/png")
    assert covers("*/*", "image/png")
    assert not covers("image/*", "imagex/png")
    assert not covers("image/png", "image/p")
    assert MediaRange("image", "*", {}, 1.0).covers("image/jls")


def test_dispositions():
    assert parse_disposition('Form-Data; name="a"; filename=b.dcm') == ("form-data", {"name": "a", "filename": "b.dcm"})
    for text in ("", '; name="a"', 'form-data; name="a', "x" * 9000):
        with pytest.raises(MediaTypeError):
            parse_disposition(text)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('multipart/related; type="application/dicom"; boundary=B', ("application/dicom", "B")),
        ("multipart/related; type=application/dicom; boundary=B", ("application/dicom", "B")),
        ('multipart/related;boundary="B c "', ("application/dicom", "B c")),
        ('Multipart/Related; Type="Application/DICOM+JSON"; boundary=B', ("application/dicom+json", "B")),
        ('multipart/related; type="application/dicom; transfer-syntax=1.2"; boundary=B', ("application/dicom", "B")),
        ("multipart/form-data; boundary=----B", ("", "----B")),
        ("application/dicom", ("application/dicom", "")),
        ("application/dicom+xml; charset=utf-8", ("application/dicom+xml", "")),
    ],
)
def test_store_requests(text, content):
    assert parse_store_content(text) == StoreContent(*content)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (None, 415),
        ("", 415),
        ("application/json", 415),
        ("application/octet-stream", 415),
        ("multipart/mixed; boundary=B", 415),
        ('multipart/related; type="image/jpeg"; boundary=B', 415),
        ("rubbish", 400),
        ("multipart/related", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/related; boundary=" + "b" * 201, 400),
        ('multipart/related; boundary="a\rb"', 400),
        ("multipart/related; boundary=é", 400),
        ("multipart/related; boundary=a; boundary=b", 400),
    ],
)
def test_store_requests_refused(text, status):
    with pytest.raises(MediaTypeError) as caught:
        parse_store_content(text)
    assert caught.value.http_status == status
    assert isinstance(caught.value, UnsupportedMediaTypeError) == (status == 415)


@given(st.text(alphabet=st.sampled_from('a/*;,="\\ q0.1-\té\0') | st.characters(), max_size=60))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_accept, parse_media_type, parse_disposition, parse_store_content):
        with contextlib.suppress(MediaTypeError):
            parse(text)
