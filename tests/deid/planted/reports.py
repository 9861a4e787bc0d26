"""Structured reports: every concept of Table E.3.4-1, and others, as content items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.deid.planted.objects import Study, code, describe, made, reference
from tests.deid.planted.values import Planter
from tests.deid.scoring import facts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

BASIC_TEXT, ENHANCED = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.22"
COMPREHENSIVE, DOSE = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.67"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
UNLISTED = (
    ("TEXT", "121073", "Impression"),
    ("PNAME", "121008", "Person Observer Name"),
    ("DATE", "99901", "Some Date"),
    ("DATETIME", "99902", "Some DateTime"),
    ("TIME", "99903", "Some Time"),
    ("UIDREF", "99904", "Some UID"),
    ("CODE", "121071", "Finding"),
    ("NUM", "99905", "Size of it"),
    ("IMAGE", "99906", "Image of it"),
)
ALLOWED = {
    BASIC_TEXT: {"TEXT", "PNAME", "DATE", "DATETIME", "TIME", "UIDREF", "CODE", "IMAGE", "COMPOSITE", "WAVEFORM"},
    DOSE: {"TEXT", "PNAME", "DATETIME", "UIDREF", "CODE", "IMAGE", "COMPOSITE", "CONTAINER", "NUM"},
    KEY_OBJECTS: {"TEXT", "PNAME", "UIDREF", "CODE", "IMAGE"},
}


def item(study: Study, value_type: str, concept: tuple[str, str, str], relationship: str = "CONTAINS") -> Dataset:
    """A content item with a planted value."""
    p: Planter = study.planter
    value, scheme, meaning = concept
    found = made(
        RelationshipType=relationship, ValueType=value_type, ConceptNameCodeSequence=code(value, scheme, meaning)
    )
    if value_type == "TEXT":
        found.TextValue = p.text("UT")
    elif value_type == "PNAME":
        found.PersonName = p.name()
    elif value_type == "DATE":
        found.Date = p.day().strftime("%Y%m%d")
    elif value_type == "TIME":
        found.Time = p.clock()
    elif value_type == "DATETIME":
        found.DateTime = p.day().strftime("%Y%m%d") + p.clock()
    elif value_type == "UIDREF":
        found.UID = p.uid()
    elif value_type == "CODE":
        found.ConceptCodeSequence = code("59776-5", "LN", "Procedure Findings")
    elif value_type == "NUM":
        units = code("mm", "UCUM", "mm")
        found.MeasuredValueSequence = [made(NumericValue="12.5", MeasurementUnitsCodeSequence=units)]
    elif value_type in {"IMAGE", "COMPOSITE", "WAVEFORM"}:
        found.ReferencedSOPSequence = [reference(study.images[p.count % len(study.images)])]
    elif value_type == "CONTAINER":
        found.ContinuityOfContent = "SEPARATE"
        found.ContentSequence = [item(study, "TEXT", ("121106", "DCM", "Comment"))]
    return found


def report(study: Study, sop_class: str, modality: str = "SR", *, every: bool = False) -> Dataset:
    """A report; with `every`, an item for each row of Table E.3.4-1, else for some."""
    p = study.planter
    data_set = describe(made(SOPClassUID=sop_class), study, modality)
    day = study.day.strftime("%Y%m%d")
    allowed = ALLOWED.get(sop_class, {row.vr for row in facts.structured().values()} | {"NUM", "CODE"})
    items = [
        item(study, value_type, (value, scheme, "Meaning of it"))
        for number, (scheme, value, value_type) in enumerate(facts.structured())
        if value_type in allowed and (every or number % 17 == 0)
    ]
    items += [item(study, kind, (value, "DCM", text)) for kind, value, text in UNLISTED if kind in allowed]
    if sop_class in {ENHANCED, COMPREHENSIVE, DOSE}:
        nested = item(study, "CONTAINER", ("121070", "DCM", "Findings"))
        nested.ContentSequence += [item(study, kind, (v, "DCM", t)) for kind, v, t in UNLISTED if kind in allowed]
        nested.ContentSequence[0].ContentSequence = [
            item(study, "TEXT", ("121106", "DCM", "Comment"), "HAS PROPERTIES")
        ]
        nested.ObservationDateTime = day + p.clock()
        items.append(nested)
    series: dict[str, list[Dataset]] = {}
    for image in study.images:
        series.setdefault(image.SeriesInstanceUID, []).append(reference(image))
    data_set.update(
        made(
            ValueType="CONTAINER", ContinuityOfContent="SEPARATE", ContentDate=day, ContentTime=p.clock(),
            ConceptNameCodeSequence=code("18748-4", "LN", "Diagnostic Imaging Report"), ContentSequence=items,
            ReferencedPerformedProcedureStepSequence=[],
            CurrentRequestedProcedureEvidenceSequence=[
                made(
                    StudyInstanceUID=study.uid,
                    ReferencedSeriesSequence=[
                        made(SeriesInstanceUID=uid, ReferencedSOPSequence=images) for uid, images in series.items()
                    ],
                )
            ],
        )
    )  # fmt: skip
    if sop_class == KEY_OBJECTS:
        data_set.ConceptNameCodeSequence = code("113000", "DCM", "Of Interest")
        data_set.ContentTemplateSequence = [made(MappingResource="DCMR", TemplateIdentifier="2010")]
        return data_set
    data_set.update(
        made(
            CompletionFlag="COMPLETE", VerificationFlag="VERIFIED", PerformedProcedureCodeSequence=[],
            VerifyingObserverSequence=[
                made(
                    VerifyingOrganization=p.text("LO"), VerificationDateTime=day + p.clock(),
                    VerifyingObserverName=p.name(), VerifyingObserverIdentificationCodeSequence=[p.code()],
                )
            ],
            AuthorObserverSequence=[
                made(
                    ObserverType="PSN", PersonName=p.name(), PersonIdentificationCodeSequence=[p.code()],
                    InstitutionName=p.text("LO"), InstitutionCodeSequence=[],
                )
            ],
        )
    )  # fmt: skip
    return data_set
