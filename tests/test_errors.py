"""The exception tree and the table of exit codes."""

from __future__ import annotations

import pytest

from dcmkit import errors
from dcmkit.errors import DcmkitError, ExitCode

CLASSES = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, DcmkitError)]


def test_exit_codes_are_in_dcmtks_ranges():
    ranges = {"CANNOT_READ": (20, 39), "INVALID_INPUT": (20, 39), "CANNOT_WRITE": (40, 59), "CANNOT_LISTEN": (60, 79)}
    for code in ExitCode:
        assert 0 <= code <= 19 or 20 <= code <= 79 or code >= 128
        for prefix, (low, high) in ranges.items():
            assert not code.name.startswith(prefix) or low <= code <= high
        assert code.description[0].islower() or code.description[0] == "S"
        assert not code.description.endswith(".")


def test_outcomes_that_scripts_tell_apart_differ():
    outcomes = {
        ExitCode.DONE,
        ExitCode.PARTLY_DONE,
        ExitCode.NOTHING_DONE,
        ExitCode.ASSOCIATION_REFUSED,
        ExitCode.BAD_USAGE,
    }
    assert sorted(outcomes) == [0, 1, 10, 11, 61]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_knows_what_to_answer(cls):
    assert isinstance(cls.exit_code, ExitCode)
    assert cls.exit_code is not ExitCode.DONE
    assert cls.dimse_status == 0x0110 or 0x0100 <= cls.dimse_status <= 0xCFFF
    assert 400 <= cls.http_status < 600
    assert cls.__doc__


def test_message_and_hint():
    error = errors.OutputError("disk full", hint="make room")
    assert (error.message, error.hint, str(error)) == ("disk full", "make room", "disk full (make room)")
    assert str(errors.OutputError("disk full")) == "disk full"


def test_fields_of_the_standard_are_kept():
    rejected = errors.AssociationRejectedError("no", result=2, source=3, reason=2)
    assert (rejected.result, rejected.source, rejected.reason) == (2, 3, 2)
    aborted = errors.ProtocolError("no", reason=1)
    assert (aborted.source, aborted.reason) == (2, 1)
    assert errors.StatusError("no", status=0xA700).status == 0xA700
    assert errors.InvalidDataSetError("no", offending_element=0x00100010).offending_element == 0x00100010


def test_statuses_of_storage():
    """PS3.4 B.2.3, PS3.7 Annex C."""
    assert errors.OutputError.dimse_status == 0xA700
    assert errors.DataSetMismatchError.dimse_status == 0xA900
    assert errors.InvalidDataSetError.dimse_status == 0xC000
    assert errors.DuplicateError.dimse_status == 0x0111
    assert errors.NoPresentationContextError.dimse_status == 0x0122
