"""Paths of resources, both ways."""

from __future__ import annotations

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.wado_targets import Place, Target, encoded, place_of


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/", Place("")),
        ("/dicom-web/", Place("/dicom-web")),
        ("/a/studies", Place("/a", "studies")),
        ("/a/patients?x=1", Place("/a", "patients", query="x=1")),
        ("/a/series", Place("/a", "series")),
        ("/studies/1.2", Place("", "", Target("1.2"))),
        ("/a/b/studies/1.2/series?q", Place("/a/b", "series", Target("1.2"), "", "q")),
        ("/a/studies/1.2/instances", Place("/a", "instances", Target("1.2"))),
        ("/a/studies/1.2/series/1.3/instances/1.4", Place("/a", "", Target("1.2", "1.3", "1.4"))),
        ("/a/studies/1.2/series/1.3/instances/1.4/frames/1", Place("/a", "", Target("1.2", "1.3", "1.4"), "/frames/1")),
        ("/a/studies/1.2/metadata", Place("/a", "", Target("1.2"), "/metadata")),
    ],
)
def test_paths_are_taken_apart(text: str, place: Place) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("target", [Target("1.2"), Target("1.2", "1.3"), Target("1.2", "1.3", "1.4")])
def test_paths_are_made(target: Target) -> None:
    assert place_of("/x" + target.path) == Place("/x", "", target)
    assert str(target).split()[1] == target.uid


@pytest.mark.parametrize("text", ["/studies/..", "/studies/1.2/series/%2e%2e", "/studies/a/series", "/studies/1%00"])
def test_what_is_no_uid(text: str) -> None:
    with pytest.raises(UsageError):
        place_of(text)


def test_no_path_of_what_is_no_uid() -> None:
    with pytest.raises(UsageError):
        _ = Target("1.2", "../x").path
    assert [Target("1").level, Target("1", "2").level, Target("1", "2", "3").level] == ["STUDY", "SERIES", "IMAGE"]


def test_parameters() -> None:
    assert encoded("PatientName", "Doe^J*") == "PatientName=Doe^J*"
    assert encoded("x", "a b&c=d#ä") == "x=a%20b%26c%3Dd%23%C3%A4"
