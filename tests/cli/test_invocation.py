"""Where a value comes from; the whole way is in test_options.py."""

from __future__ import annotations

import pytest

from dcmkit.cli.configuration import Configuration, Entry, Node
from dcmkit.cli.invocation import Invocation, Peer, known_keys
from dcmkit.cli.parser import Given
from dcmkit.errors import UsageError
from dcmkit.settings import ListenerSettings, RequestorSettings

AET = RequestorSettings.options["calling_ae_title"]


def test_every_source_in_its_order(monkeypatch):
    configuration = Configuration()
    run = Invocation("echoscu", configuration, {})
    seen = [run.value(AET, "association")]
    run = Invocation("echoscu", configuration, {"calling_ae_title": "TOOL"})
    seen.append(run.value(AET, "association"))
    for section in ("association", "echoscu"):
        configuration.sections[section] = {"calling_ae_title": Entry(section, f"[{section}]")}
        seen.append(run.value(AET, "association"))
    monkeypatch.setenv("DCMKIT_CALLING_AE_TITLE", "ENV")
    seen.append(run.value(AET, "association"))
    run.node = Node("n", "h", 1, {"calling_ae_title": Entry("NODE", "[nodes.n]")})
    seen.append(run.value(AET, "association"))
    run.given["calling_ae_title"] = Given("LINE", "-aet")
    seen.append(run.value(AET, "association"))
    assert seen == [
        ("DCMKIT", "default"),
        ("TOOL", "default of echoscu"),
        ("association", "[association]"),
        ("echoscu", "[echoscu]"),
        ("ENV", "environment variable DCMKIT_CALLING_AE_TITLE"),
        ("NODE", "[nodes.n]"),
        ("LINE", "option -aet"),
    ]


def test_settings_are_built_once_and_errors_name_the_origin():
    configuration = Configuration()
    run = Invocation("x", configuration, {})
    assert run.settings(RequestorSettings) is run.settings(RequestorSettings) == RequestorSettings()
    configuration.sections["listener"] = {"workers": Entry(True, "f, [listener] workers")}
    with pytest.raises(UsageError, match=r"^f, \[listener\] workers: True is not a number"):
        run.settings(ListenerSettings)


def test_known_keys():
    known = known_keys((ListenerSettings,), "storescp")
    assert "called_ae_title" in known["association"]
    assert known["storescp"] == set(ListenerSettings.options)


@pytest.mark.parametrize(("peer", "text"), [(Peer("h", 1), "h:1"), (Peer("::1", 104, "pacs"), "[::1]:104 (@pacs)")])
def test_peers_as_text(peer, text):
    assert str(peer) == text
