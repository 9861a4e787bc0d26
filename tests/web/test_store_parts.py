"""An object on its way from a part into an archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import InvalidDataSetError, SOPClassNotSupportedError
from dcmkit.uids import VERIFICATION
from dcmkit.web.store_parts import Arrival, TransferSyntaxNotSupportedError, require_storable
from tests.archive.objects import CT, EXPLICIT, archive_in, arriving, image, part10, rows

PRIVATE = "1.3.6.1.4.1.1234"


def test_what_is_storable():
    for sop_class, syntax in (
        (CT, EXPLICIT),
        (PRIVATE, EXPLICIT),
        (CT, "1.2.840.113619.5.2"),
        (CT, "1.2.840.10008.1.2.4.50"),
    ):
        require_storable(sop_class, syntax)
    with pytest.raises(SOPClassNotSupportedError):
        require_storable(VERIFICATION, EXPLICIT)
    for syntax in (CT, "", "x", "1.2.840.10008.1.2.4.999"):
        with pytest.raises(TransferSyntaxNotSupportedError):
            require_storable(CT, syntax)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("cut", [1, 50, 140, 400, 9000])
def test_it_begins_when_it_can_be_told_what_it_is(tmp_path: Path, together: bool, cut: int):
    data = part10("1.1", pixels=bytes(30000))
    with archive_in(tmp_path) as archive:
        arrival = Arrival(archive, together=together)
        for start in range(0, len(data), cut):
            arrival.write(memoryview(data)[start : start + cut])
        arrival.finish()
        assert arrival.failure is None
        assert (arrival.study, arrival.series) == ("1.2.3.1", "1.2.3.2")
        assert arrival.header is not None
        assert arrival.header.sop_instance_uid == "1.1"
        assert arrival.incoming is not None
        arrival.incoming.commit()
        assert len(rows(archive, "1.1")) == 1


def test_file_meta_information_of_any_length(tmp_path: Path):
    private = b"\2\0\2\1OB\0\0" + (100_000).to_bytes(4, "little") + bytes(100_000)
    data = file_meta(CT, "1.1", EXPLICIT) + private + image("1.1")
    endless = file_meta(CT, "1.1", EXPLICIT) + (b"\2\0\2\1OB\0\0" + (100).to_bytes(4, "little") + bytes(100)) * 30_000
    with archive_in(tmp_path) as archive:
        for content, fails in ((data, False), (endless, True)):
            arrival = Arrival(archive, together=True)
            for start in range(0, len(content), 5000):
                arrival.write(memoryview(content)[start : start + 5000])
            arrival.finish()
            assert (arrival.failure is not None) == fails
            arrival.fail(InvalidDataSetError("enough"))
            assert len(arrival._head) == 0
    assert arriving(tmp_path) == []


def test_after_a_failure_nothing_is_kept(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        arrival = Arrival(archive, together=True)
        arrival.write(memoryview(b"x" * 10000))
        failure = arrival.failure
        assert isinstance(failure, InvalidDataSetError)
        arrival.write(memoryview(part10()))
        arrival.finish()
        assert arrival.failure is failure
        assert arrival.incoming is None


def test_an_empty_part(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        arrival = Arrival(archive, together=True)
        arrival.finish()
        assert isinstance(arrival.failure, InvalidDataSetError)
        only_meta = Arrival(archive, together=True)
        only_meta.write(memoryview(file_meta(CT, "1.1", EXPLICIT)))
        only_meta.finish()
        assert isinstance(only_meta.failure, InvalidDataSetError)


def test_what_it_contradicts_itself_in(tmp_path: Path):
    """The data set counts (PS3.10 7.1)."""
    with archive_in(tmp_path) as archive:
        arrival = Arrival(archive, together=True)
        arrival.write(memoryview(file_meta(CT, "1.99", EXPLICIT) + image("1.1")))
        arrival.finish()
        assert arrival.failure is None
        assert arrival.header is not None
        assert arrival.header.sop_instance_uid == "1.1"
        arrival.fail(InvalidDataSetError("enough"))
    assert arriving(tmp_path) == []
