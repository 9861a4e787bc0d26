"""The options of the DICOMweb service: what is refused before anything begins."""

from __future__ import annotations

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.settings import WebSettings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("root", "/dicom-web", "/dicom-web"),
        ("root", "dicomweb/", "/dicomweb"),
        ("root", "/", ""),
        ("public_url", "https://pacs.example.org/dicom-web/", "https://pacs.example.org/dicom-web"),
        ("trusted_proxies", "10.0.0.0/8,::1", ("10.0.0.0/8", "::1")),
        ("auth", ["users:C:\\users", "jwt:keys.json"], ("users:C:\\users", "jwt:keys.json")),
        ("anonymous", "none", "none"),
        ("anonymous", "query,retrieve", "query,retrieve"),
        ("cors", "*", ("*",)),
        ("cors", "http://localhost:3000", ("http://localhost:3000",)),
        ("max_body", "2G", "2g"),
    ],
)
def test_what_is_taken(name: str, text: object, value: object) -> None:
    assert WebSettings.options[name].convert(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("root", "/a b"),
        ("root", "/a?b"),
        ("root", "/é"),
        ("public_url", "pacs.example.org"),
        ("public_url", "https://pacs.example.org/?x"),
        ("trusted_proxies", "proxy.example.org"),
        ("auth", "users"),
        ("auth", "kerberos:file"),
        ("auth", "users:"),
        ("anonymous", "everything"),
        ("cors", "https://a.example/path"),
        ("cors", "https://*.example"),
        ("cors", "example.org"),
        ("no_match_status", "404"),
        ("delete_policy", "shred"),
        ("web_workers", "0"),
    ],
)
def test_what_is_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError):
        WebSettings.options[name].convert(text)


def test_no_name_is_that_of_another_option() -> None:
    """Values are found by their names, whatever class they are of: --bind of one service must not move the other."""
    from dcmkit.cli.command_tree import command_tree

    command_tree()  # imports them all
    from dcmkit.settings import Settings

    classes = [cls for cls in Settings.__subclasses__() if cls is not WebSettings]
    for cls in classes:
        assert not set(cls.options) & set(WebSettings.options), cls
