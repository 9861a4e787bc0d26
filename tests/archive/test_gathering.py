"""Counts and collected values; what they are at each level is in test_query.py."""

from __future__ import annotations

from pathlib import Path

from dcmkit.archive.gathering import LEVEL_OF, gather, padded
from tests.archive.objects import archive_in, put


def test_statements_come_in_few_lengths():
    assert padded([7]) == [7]
    assert padded([7, 8]) == [7, 8, 8, 8]
    assert len({len(padded([*range(1, size + 1)])) for size in range(1, 500)}) == 5
    assert padded([*range(501)]) == [*range(501)]


def test_numbers_that_are_not_there_are_left_out(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.3")
        put(archive, "1.2.4", series="1.5", modality="SR")
        archive.flush()
        with archive.index.reading() as connection:
            for key in LEVEL_OF:
                assert gather(connection, key, [99]) == {}
            assert gather(connection, "ModalitiesInStudy", [1, 1, 99]) == {1: "CT\\SR"}
            assert gather(connection, "NumberOfStudyRelatedInstances", [99, 1]) == {1: 2}
