"""The Capabilities Description."""

from __future__ import annotations

from xml.etree.ElementTree import Element, fromstring

from dcmkit.web.wadl import document
from tests.web.test_openapi import ROUTES

SPACE = "{http://wadl.dev.java.net/2009/02}"


def described() -> Element:
    return fromstring(document(ROUTES, "http://a/b?c&d", title="A & B"))


def test_one_application_with_one_resources_element():
    root = described()
    assert root.tag == SPACE + "application"
    (resources,) = root.iter(SPACE + "resources")
    assert resources.get("base") == "http://a/b?c&d/"
    assert [one.get("path") for one in resources] == ["studies", "health"]


def test_resources_are_a_tree():
    root = described()
    studies = next(one for one in root.iter(SPACE + "resource") if one.get("path") == "studies")
    assert [one.get("name") for one in studies.findall(SPACE + "method")] == ["GET", "POST"]
    (study,) = studies.findall(SPACE + "resource")
    assert study.get("path") == "{study}"
    assert study[0].attrib == {"name": "study", "style": "template", "type": "xsd:string", "required": "true"}
    assert [one.get("path") for one in study.findall(SPACE + "resource")] == ["bulkdata", "frames"]
    assert any(one.get("path") == "{path}" for one in root.iter(SPACE + "resource"))


def test_methods_say_what_they_take_and_answer():
    root = described()
    methods = {one.get("id"): one for one in root.iter(SPACE + "method")}
    assert set(methods) == {
        "SearchForStudies", "StoreInstances", "RetrieveStudy", "DeleteStudy", "Bulk", "Frames", "Health",
    }  # fmt: skip
    search = methods["SearchForStudies"]
    params = {(one.get("style"), one.get("name")): one for one in search.iter(SPACE + "param")}
    assert list(params) == [("header", "Accept"), ("query", "limit"), ("query", "kind")]
    accept = params["header", "Accept"]
    assert accept.get("default") == "application/dicom+json"
    assert [one.get("value") for one in accept] == ["application/dicom+json", "text/csv"]
    assert [one.get("value") for one in params["query", "kind"] if one.tag == SPACE + "option"] == ["a", "b"]
    responses = search.findall(SPACE + "response")
    assert [one.get("status") for one in responses] == ["200", "400 401 403 404 406 413"]
    store = methods["StoreInstances"]
    taken = store.find(SPACE + "request").findall(SPACE + "representation")  # type: ignore[union-attr]
    assert [one.get("mediaType") for one in taken][1] == "application/dicom"
    assert methods["DeleteStudy"].find(SPACE + "response").get("status") == "204"  # type: ignore[union-attr]
