"""Where instances lie."""

from __future__ import annotations

import os
from pathlib import Path

from dcmkit.archive.located import locate, newer, newest
from tests.archive.objects import archive_in, put


def test_studies_series_and_instances(tmp_path: Path) -> None:
    with archive_in(tmp_path) as archive:
        for number in (3, 1, 2):
            put(archive, f"1.1.1.{number}", study="1.1", series="1.1.1", instance=number)
        put(archive, "1.1.2.1", study="1.1", series="1.1.2", modality="MR")
        archive.flush()
        study = locate(archive, "1.1")
        assert [one.instance for one in study if one.series == "1.1.1"] == ["1.1.1.1", "1.1.1.2", "1.1.1.3"]
        assert len(study) == 4
        assert [one.instance for one in locate(archive, "1.1", "1.1.2")] == ["1.1.2.1"]
        (one,) = locate(archive, instance="1.1.1.2")
        assert (one.study, one.series, one.frames) == ("1.1", "1.1.1", 1)
        assert os.path.getsize(one.path) == one.size
        assert locate(archive, "1.1", "1.1.1", "1.1.1.2") == [one]
        assert one.version == f"1.1.1.2:{one.size}:{one.mtime_ns}"
        assert locate(archive, "1.1", "1.1.2", "1.1.1.2") == []
        assert locate(archive, "1.2", "", "1.1.1.2") == []
        assert locate(archive, "9") == []


def test_what_came_last(tmp_path: Path) -> None:
    with archive_in(tmp_path) as archive:
        assert newest(archive) == 0
        for number in (1, 2, 3):
            put(archive, f"1.1.1.{number}", study="1.1", series="1.1.1")
        archive.flush()
        first, second, third = newer(archive, 0, 10)
        assert newest(archive) == third.number
        assert newer(archive, first.number, 1) == [second]
        assert newer(archive, third.number, 10) == []
