"""Bodies in parts: every cut of the bytes gives the same parts, and every body ends, or is refused."""

from __future__ import annotations

import contextlib
import random
import re
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from dcmkit.web.multipart import (
    MAX_PREAMBLE,
    BodyEnded,
    BodyTooLargeError,
    Limits,
    MultipartError,
    MultipartReader,
    MultipartWriter,
    PartBegan,
    PartData,
    PartEnded,
    content_type,
    lay_out,
    make_boundary,
)

BOUNDARY = "b0undary"
DICOM = {"Content-Type": "application/dicom"}


def read(body, cuts=(), boundary=BOUNDARY, limits=None):
    """The parts of `body` cut at `cuts`, as (headers, content, what its end says)."""
    reader = MultipartReader(boundary, limits)
    parts = []
    ended = False
    edges = [0, *sorted(cuts), len(body)]
    for start, stop in pairwise(edges):
        for event in reader.feed(body[start:stop]):
            assert not ended
            if isinstance(event, PartBegan):
                parts.append([event.headers, b"", None])
            elif isinstance(event, PartData):
                assert parts[-1][2] is None
                assert len(event.view) > 0
                parts[-1][1] += event.view
            elif isinstance(event, PartEnded):
                assert event.size == len(parts[-1][1])
                parts[-1][2] = event
            else:
                assert isinstance(event, BodyEnded)
                ended = True
    reader.close()
    assert ended
    return [(headers, content, end.as_claimed) for headers, content, end in parts]


def written(contents, boundary=BOUNDARY):
    pieces, length = lay_out(boundary, [(DICOM, len(content), [content]) for content in contents])
    body = b"".join(pieces)
    assert len(body) == length
    return body


def contents_of(body, cuts=(), **more):
    return [content for _, content, _ in read(body, cuts, **more)]


def refused(body, cuts=(), **more):
    with pytest.raises(MultipartError) as caught:
        read(body, cuts, **more)
    return caught.value


nasty = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"--", b"-", b"--b0undary", b"\r\n--b0undar", b"\n--b0undary", b"\r\n--b0undaryX", b" "]
    )
    | st.binary(max_size=8),
    max_size=12,
).map(b"".join)
cuts_of = st.lists(st.integers(0, 600), max_size=40)


@given(contents=st.lists(nasty, max_size=4), cuts=cuts_of)
@example(contents=[b"", b""], cuts=list(range(200)))
@example(contents=[b"\r\n--b0undar\r\n--b0undaryX\r"], cuts=list(range(200)))
def test_any_cut_gives_what_was_written(contents, cuts):
    assume(not any(re.search(rb"(?:\A|\r\n)--b0undary(?!X)", content) for content in contents))
    body = written(contents)
    assert contents_of(body) == contents
    assert contents_of(body, [cut for cut in cuts if cut <= len(body)]) == contents


@given(body=nasty, more=nasty, cuts=cuts_of)
def test_any_bytes_are_read_alike_however_they_are_cut(body, more, cuts):
    body = b"--b0undary\r\n" + body + b"\r\n\r\n" + more + b"\r\n--b0undary--"

    def outcome(cuts):
        try:
            return read(body, [cut for cut in cuts if cut <= len(body)])
        except MultipartError as error:
            return str(error)

    assert outcome(cuts) == outcome(()) == outcome(range(len(body)))


def test_every_single_cut():
    body = b"preamble\r\n" + written([b"one", b"", b"\r\n--b0undarythree\r"]) + b"epilogue --b0undary\r\n"
    expected = [b"one", b"", b"\r\n--b0undarythree\r"]
    for cut in range(len(body)):
        assert contents_of(body, [cut]) == expected


def test_data_is_lent_from_what_was_fed():
    body = written([b"x" * 1000])
    views = [event.view for event in MultipartReader(BOUNDARY).feed(body) if isinstance(event, PartData)]
    assert [bytes(view) for view in views] == [b"x" * 1000]
    assert views[0].obj is body


def test_a_bytearray_can_be_fed():
    body = bytearray(written([b"ab\r\n--b0un"]))
    reader = MultipartReader(BOUNDARY)
    got = b"".join(
        bytes(event.view) for cut in (body[:80], body[80:]) for event in reader.feed(cut) if isinstance(event, PartData)
    )
    reader.close()
    assert got == b"ab\r\n--b0un"


def test_headers():
    head = b'Content-Type: image/jls;\r\n transfer-syntax="1.2"\r\nX-A : 1\r\nx-a: 2\r\nLocation: caf\xc3\xa9\r\n'
    headers, content, _ = read(b"--b0undary  \r\n" + head + b"\r\nx\r\n--b0undary--")[0]
    assert headers == {"content-type": 'image/jls; transfer-syntax="1.2"', "x-a": "1, 2", "location": "café"}
    assert content == b"x"
    part = PartBegan(headers)
    assert (part.content_type, part.length, part.is_encoded) == ('image/jls; transfer-syntax="1.2"', None, False)


def test_form_data_as_raccoonscp_sends_it():
    body = (
        b'----x\r\nContent-Disposition: form-data; name="file"; filename="../a\\"b.dcm"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\nDICM\r\n----x--\r\n"
    )
    [(headers, content, _)] = read(body, boundary="--x")
    assert content == b"DICM"
    assert PartBegan(headers).field == ("file", '../a"b.dcm')
    assert PartBegan({}).field == PartBegan({"content-disposition": "; ="}).field == ("", "")


def test_line_feeds_alone():
    body = b"--b0undary\nContent-Type: application/dicom\n\na\r\n\n--b0undary\n\n\n--b0undary--\n"
    for cuts in ((), range(len(body))):
        assert contents_of(body, cuts) == [b"a\r\n", b""]


def test_a_line_feed_before_a_boundary_is_content_where_lines_end_with_both():
    body = b"--b0undary\r\n\r\na\n--b0undary\r\nb\r\n--b0undary--"
    assert contents_of(body) == [b"a\n--b0undary\r\nb"]


def test_an_empty_part_without_a_blank_line_more():
    body = b"--b0undary\r\n\r\n--b0undary\r\nA: b\r\n\r\n--b0undary--"
    for cuts in ((), range(len(body))):
        assert contents_of(body, cuts) == [b"", b""]


def test_a_longer_boundary_within_is_content():
    inner = b"--b0undary2\r\n\r\nx\r\n--b0undary2--"
    assert contents_of(written([inner])) == [inner]


def test_the_claimed_length_is_a_hint():
    body = b"--b0undary\r\nContent-Length: %s\r\n\r\nabc\r\n--b0undary--"
    assert [read(body % claim)[0][2] for claim in (b"3", b"2", b"4", b"-1", b"9" * 30)] == [
        True, False, False, True, True,
    ]  # fmt: skip
    assert PartBegan({"content-length": "3"}).length == 3


def test_encoded_parts_say_so():
    assert PartBegan({"content-transfer-encoding": "Base64"}).is_encoded
    assert not PartBegan({"content-transfer-encoding": "8bit"}).is_encoded


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "without its boundary"),
        (b"no boundary anywhere\r\n", "without its boundary"),
        (b"--b0undaryX\r\n\r\nx\r\n--b0undaryX--", "without its boundary"),
        (b"--b0undary\r\n\r\nabc", "last boundary"),
        (b"--b0undary\r\n\r\nabc\r\n--b0undary", "last boundary"),
        (b"--b0undary\r\n\r\nabc\r\n--b0undary\r\n", "last boundary"),
        (b"--b0undary\r\nContent-Type: a/b", "last boundary"),
        (b"--b0undary\r\nno field\r\n\r\nx\r\n--b0undary--", "Name: value"),
        (b"--b0undary\r\n: x\r\n\r\nx\r\n--b0undary--", "Name: value"),
        (b"--b0undary\r\n folded: x\r\n\r\nx\r\n--b0undary--", "Name: value"),
        (b"--b0undary\r\nA: b\rC: d\r\n\r\nx\r\n--b0undary--", "control characters"),
        (b"--b0undary\r\nA: \0\r\n\r\nx\r\n--b0undary--", "control characters"),
        (b"--b0undary\r\nContent-Type: a/b\r\nContent-type: c/d\r\n\r\nx\r\n--b0undary--", "twice"),
    ],
)
def test_what_is_no_such_body(body, says):
    assert says in str(refused(body))
    assert says in str(refused(body, range(len(body))))
    assert refused(body).http_status == 400


def test_limits():
    body = written([b"x" * 100] * 3)
    assert len(contents_of(body, limits=Limits(parts=3, part=100, body=len(body)))) == 3
    assert refused(body, limits=Limits(parts=2)).http_status == 400
    assert refused(body, limits=Limits(header=20)).http_status == 400
    assert isinstance(refused(body, limits=Limits(part=99)), BodyTooLargeError)
    assert refused(body, limits=Limits(body=len(body) - 1)).http_status == 413
    without_claim = b"--b0undary\r\n\r\n" + b"x" * 100 + b"\r\n--b0undary--"
    assert refused(without_claim, range(0, 120, 7), limits=Limits(part=99)).http_status == 413


def test_hostile_bodies_are_refused_early():
    """1 MB of header, of preamble, 10^6 empty parts: nothing of it is kept."""
    assert "header" in str(refused(b"--b0undary\r\nA: " + b"x" * 1_000_000))
    assert "header" in str(refused(b"--b0undary\r\n" + b"A:b\r\n" * 200_000, range(0, 1_000_000, 65536)))
    assert "begin with" in str(refused(b"\r\n--b0und" * MAX_PREAMBLE))
    assert "parts" in str(refused(b"--b0undary\r\n\r\n" * 1_000_000, range(0, 14_000_000, 65536)))


def test_garbage_is_refused_or_read():
    rng = random.Random(6)
    seed = b"pre\r\n" + written([b"secret\r\n", b"\0" * 40])
    for _ in range(1500):
        body = bytearray(seed)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(body))
            body[at : at + rng.randrange(3)] = rng.choice((b"", b"\r", b"\n", b"-", b":", b"--b0undary", b"\xff"))
        cuts = sorted(rng.randrange(len(body)) for _ in range(rng.randrange(4)))
        with contextlib.suppress(MultipartError):
            read(bytes(body), cuts)


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_noise(body):
    with contextlib.suppress(MultipartError):
        read(body, boundary="-")


def test_a_body_is_laid_out_before_it_is_read():
    content = memoryview(b"pixels")
    pieces, length = lay_out("B", [(DICOM, 6, [content]), ({}, 0, [])])
    assert pieces == [
        b"--B\r\nContent-Type: application/dicom\r\nContent-Length: 6\r\n\r\n",
        content,
        b"\r\n--B\r\nContent-Length: 0\r\n\r\n",
        b"\r\n--B--\r\n",
    ]
    assert length == sum(map(len, pieces))
    assert pieces[1] is content
    pieces, length = lay_out("B", [])
    assert (pieces, length) == ([b"--B--\r\n"], 7)


def test_no_text_ends_a_header_line():
    head = MultipartWriter("B").head({"Content-Location": "a\r\nX: y\0é"})
    assert head == "--B\r\nContent-Location: a X: y é\r\n\r\n".encode()


def test_boundaries_come_from_what_is_sent_and_a_key():
    one = make_boundary(b"key", "1.2.3", b"4")
    assert one == make_boundary(b"key", "1.2.3", b"4")
    assert len({one, make_boundary(b"other", "1.2.3", b"4"), make_boundary(b"key", "1.2.34", b"")}) == 3
    assert len(one) <= 70
    assert content_type(one) == f'multipart/related; type="application/dicom"; boundary={one}'
    assert content_type("a b").endswith('boundary="a b"')
    assert contents_of(written([b"x"], one), boundary=one) == [b"x"]
