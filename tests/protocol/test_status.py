"""DIMSE statuses (PS3.7 Annex C)."""

from __future__ import annotations

import pytest

from dcmkit.protocol import status
from dcmkit.protocol.status import category, describe

KINDS = {"success", "warning", "failure", "cancel", "pending"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0x0000, "success"), (0x0001, "warning"), (0x0107, "warning"), (0x0116, "warning"), (0xB000, "warning"),
        (0xB007, "warning"), (0xBFFF, "warning"), (0x0110, "failure"), (0x0122, "failure"), (0xA700, "failure"),
        (0xC000, "failure"), (0xCFFF, "failure"), (0xFE00, "cancel"), (0xFF00, "pending"), (0xFF01, "pending"),
        (0x0002, "failure"), (0xD000, "failure"), (0xFFFF, "failure"), (0xFE01, "failure"),
    ],
)  # fmt: skip
def test_category(code: int, expected: str) -> None:
    assert category(code) == expected


@pytest.mark.parametrize(
    ("code", "service", "expected"),
    [
        (0x0000, "storage", "success (0000H)"),
        (0xA700, "storage", "refused, out of resources (A700H)"),
        (0xA7FE, "storage", "refused, out of resources (A7FEH)"),
        (0xA901, "storage", "data set does not match the SOP class (A901H)"),
        (0xC123, "storage", "cannot understand the data set (C123H)"),
        (0xC123, "find", "unable to process (C123H)"),
        (0xC100, "find", "more than one match found (C100H)"),
        (0xA801, "move", "refused, move destination unknown (A801H)"),
        (0xB000, "get", "sub-operations finished with failures or warnings (B000H)"),
        (0x0122, "find", "refused, SOP class not supported (0122H)"),
        (0xB123, "storage", "warning (B123H)"),
        (0xA801, "verification", "failure (A801H)"),
        (0xABCD, "no such service", "failure (ABCDH)"),
    ],
)
def test_describe(code: int, service: str, expected: str) -> None:
    assert describe(code, service) == expected


def test_every_status_of_every_service_has_words() -> None:
    for service in (*status._BY_SERVICE, "verification"):
        for code in range(0, 0x10000, 7):
            assert category(code) in KINDS
            assert describe(code, service).endswith(f" ({code:04X}H)")


@pytest.mark.parametrize(
    ("service", "registry"),
    [
        ("storage", "STORAGE_SERVICE_CLASS_STATUS"),
        ("find", "QR_FIND_SERVICE_CLASS_STATUS"),
        ("find", "RELEVANT_PATIENT_SERVICE_CLASS_STATUS"),
        ("find", "MODALITY_WORKLIST_SERVICE_CLASS_STATUS"),
        ("move", "QR_MOVE_SERVICE_CLASS_STATUS"),
        ("get", "QR_GET_SERVICE_CLASS_STATUS"),
        ("ups", "UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS"),
        ("print", "PRINT_JOB_MANAGEMENT_SERVICE_CLASS_STATUS"),
    ],
)
def test_pynetdicom_knows_the_same_statuses(service: str, registry: str) -> None:
    theirs = getattr(pytest.importorskip("pynetdicom.status"), registry)
    for code, (kind, _) in theirs.items():
        assert category(code) == kind.lower()
        assert describe(code, service) != f"{category(code)} ({code:04X}H)" or code in (0x0000, 0xFF00)
    unknown_to_them = set(status._BY_SERVICE[service]) - set(theirs)
    if registry.startswith(("STORAGE", "QR_MOVE", "UNIFIED", "PRINT")):
        assert unknown_to_them == set()
