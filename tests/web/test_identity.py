"""Scopes, limits to studies, and the errors that refuse."""

from __future__ import annotations

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.identity import (
    ALL_SCOPES,
    SCOPES,
    AccessError,
    ForbiddenError,
    Identity,
    TooManyAttemptsError,
    UnauthorizedError,
    in_order,
    parse_scopes,
    parse_studies,
)


def test_no_scope_includes_another():
    for scope in SCOPES:
        identity = Identity("a", "basic", frozenset((scope,)))
        assert [other for other in SCOPES if identity.may(other)] == [scope]


def test_limits_to_studies():
    identity = Identity("a", "link", frozenset(("retrieve",)), frozenset(("1.2.3",)))
    assert identity.may("retrieve", "1.2.3")
    assert not identity.may("retrieve", "1.2.4")
    assert not identity.may("store", "1.2.3")
    identity.require("retrieve", "1.2.3")
    for scope, study in (("retrieve", "1.2.4"), ("store", "1.2.3"), ("store", None)):
        with pytest.raises(ForbiddenError):
            identity.require(scope, study)
    assert not Identity("a", "link", ALL_SCOPES, frozenset()).may("query", "1.2")
    assert Identity("a", "basic", ALL_SCOPES).may_reach("1.2")


@pytest.mark.parametrize("text", ["query,retrieve", "retrieve query", " query, retrieve ", ["query", "retrieve"]])
def test_scopes(text):
    assert parse_scopes(text) == {"query", "retrieve"}
    assert in_order(parse_scopes(text)) == "query,retrieve"


def test_all_scopes():
    assert parse_scopes("all") == ALL_SCOPES


@pytest.mark.parametrize("text", ["", "read", "query,all", []])
def test_what_is_no_scope(text):
    with pytest.raises(UsageError, match="is no scope"):
        parse_scopes(text)


def test_studies():
    assert parse_studies("1.2.3,1.2.4") == {"1.2.3", "1.2.4"}
    for text in ("", "1.2.x", "../1", "1" * 65):
        with pytest.raises(UsageError):
            parse_studies(text)


def test_what_is_answered():
    assert (UnauthorizedError.http_status, ForbiddenError.http_status) == (401, 403)
    assert TooManyAttemptsError.http_status == 429
    error = AccessError("no", reason="unknown user", headers=(("Retry-After", "1"),))
    assert (str(error), error.reason, error.headers) == ("no", "unknown user", (("Retry-After", "1"),))
    assert AccessError("no").reason == "no"
