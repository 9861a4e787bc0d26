"""How queries are asked; what a person sees of it is in commands/test_findscu.py."""

from __future__ import annotations

import pytest

from dcmkit.cli.answers import Extraction, Printer
from dcmkit.cli.asking import Asking, Plan
from dcmkit.cli.options import Peer
from dcmkit.dataset.elements import DataSet, Element
from dcmkit.errors import ExitCode, NoPresentationContextError, StatusError
from dcmkit.services.association_request import association_request
from dcmkit.services.find_scu import PATIENT_ROOT_FIND, STUDY_ROOT_FIND, Charsets, find_contexts
from dcmkit.services.models import FindExtended
from dcmkit.settings import RequestorSettings, RetrySettings
from tests.services.answering import NAME, Answering, answering, study

QUERY: DataSet = {NAME: Element("PN", "")}


class Kept(Printer):
    """Keeps what it should print."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[DataSet] = []
        self.closed = False

    def add(self, answer: DataSet) -> None:
        self.answers.append(answer)

    def close(self) -> None:
        self.closed = True


def asked(service: Answering, *queries: DataSet, model: str = STUDY_ROOT_FIND, **plan: object) -> tuple[object, Kept]:
    """The exit code, or the error that gives it; and what was printed."""
    kept = Kept()
    settings = RequestorSettings()
    values = {"limit": 0, "cancel_after": 0, "window": 0, "abort": False, **plan}
    with answering(service) as listener:
        made = Plan(
            model,
            settings,
            association_request(settings, find_contexts([model])),
            RetrySettings(),
            Charsets(),
            FindExtended(),
            **values,
        )
        try:
            code: object = Asking(Peer("127.0.0.1", listener.port), made, kept, Extraction(".")).run(
                queries or (QUERY,)
            )
        except (NoPresentationContextError, StatusError) as error:
            code = error
    assert kept.closed
    return code, kept


def test_queries_share_an_association():
    service = Answering([study(1)])
    code, kept = asked(service, QUERY, QUERY, QUERY)
    assert (code, len(kept.answers), service.associations) == (ExitCode.DONE, 3, 1)


def test_the_limit_is_for_all_queries():
    service = Answering([study(1), study(2)])
    code, kept = asked(service, QUERY, QUERY, QUERY, limit=3)
    assert (code, len(kept.answers), len(service.requests)) == (ExitCode.DONE, 3, 2)


@pytest.mark.parametrize("status", [0xA700, 0xC000])
def test_the_only_query_fails_by_what_went_wrong(status):
    code, kept = asked(Answering([study(1), status]))
    assert isinstance(code, StatusError)
    assert (code.status, len(kept.answers)) == (status, 1)


def test_a_refused_model_releases_the_association():
    code, _ = asked(Answering(sop_classes=[STUDY_ROOT_FIND]), model=PATIENT_ROOT_FIND)
    assert isinstance(code, NoPresentationContextError)


def test_windows_drop_what_was_there_before():
    code, kept = asked(
        Answering([study(1), study(2)]), {**QUERY, 0x00080020: Element("DA", "20240101-20240103")}, window=1
    )
    assert (code, kept.answers) == (ExitCode.DONE, [study(1), study(2)])
