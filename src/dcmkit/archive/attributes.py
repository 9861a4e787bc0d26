"""The index keys, declared once: schema, the scanner's wanted set, layout templates and queries all come from here.

All attributes PS3.4 C.6.1.1 and C.6.2.1 make unique or required, and those people ask for besides.
"""

from __future__ import annotations

from typing import NamedTuple

PATIENT, STUDY, SERIES, INSTANCE = "patient", "study", "series", "instance"
LEVELS = (PATIENT, STUDY, SERIES, INSTANCE)

_INTEGERS = frozenset({"IS", "US", "SS", "UL", "SL"})

_MULTIPLE = frozenset({
    "OtherPatientIDs", "NameOfPhysiciansReadingStudy", "AdmittingDiagnosesDescription", "PerformingPhysicianName",
    "OperatorsName", "ImageType", "SpecificCharacterSet",
})  # fmt: skip


class Attribute(NamedTuple):
    """One index key.

    Attributes:
        keyword: the name of its column too; for an attribute in a sequence, `SequenceKeyword_Keyword`.
        level: the table its column is in.
        sequence: the tag of the sequence whose items hold it, or 0. The values of the items are joined by
            backslashes; where an item has none, its place is empty.
    """

    keyword: str
    tag: int
    level: str
    vr: str
    sequence: int = 0

    @property
    def multiple(self) -> bool:
        """May hold several values, joined by backslashes."""
        return bool(self.sequence) or self.keyword in _MULTIPLE

    @property
    def is_integer(self) -> bool:
        """Held as a number; a value that is none is not held."""
        return self.vr in _INTEGERS

    @property
    def is_name(self) -> bool:
        """A person name: a second column holds its folded form."""
        return self.vr == "PN"


SPECIFIC_CHARACTER_SET = 0x00080005
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E

_PROCEDURE_CODE_SEQUENCE = 0x00081032
_REQUEST_ATTRIBUTES_SEQUENCE = 0x00400275

ATTRIBUTES = (
    Attribute("PatientID", 0x00100020, PATIENT, "LO"),
    Attribute("IssuerOfPatientID", 0x00100021, PATIENT, "LO"),
    Attribute("PatientName", 0x00100010, PATIENT, "PN"),
    Attribute("PatientBirthDate", 0x00100030, PATIENT, "DA"),
    Attribute("PatientBirthTime", 0x00100032, PATIENT, "TM"),
    Attribute("PatientSex", 0x00100040, PATIENT, "CS"),
    Attribute("OtherPatientIDs", 0x00101000, PATIENT, "LO"),
    Attribute("EthnicGroup", 0x00102160, PATIENT, "SH"),
    Attribute("PatientComments", 0x00104000, PATIENT, "LT"),
    Attribute("StudyInstanceUID", STUDY_INSTANCE_UID, STUDY, "UI"),
    Attribute("StudyDate", 0x00080020, STUDY, "DA"),
    Attribute("StudyTime", 0x00080030, STUDY, "TM"),
    Attribute("AccessionNumber", 0x00080050, STUDY, "SH"),
    Attribute("StudyID", 0x00200010, STUDY, "SH"),
    Attribute("StudyDescription", 0x00081030, STUDY, "LO"),
    Attribute("ReferringPhysicianName", 0x00080090, STUDY, "PN"),
    Attribute("NameOfPhysiciansReadingStudy", 0x00081060, STUDY, "PN"),
    Attribute("AdmittingDiagnosesDescription", 0x00081080, STUDY, "LO"),
    Attribute("PatientAge", 0x00101010, STUDY, "AS"),
    Attribute("PatientSize", 0x00101020, STUDY, "DS"),
    Attribute("PatientWeight", 0x00101030, STUDY, "DS"),
    Attribute("Occupation", 0x00102180, STUDY, "SH"),
    Attribute("AdditionalPatientHistory", 0x001021B0, STUDY, "LT"),
    Attribute("TimezoneOffsetFromUTC", 0x00080201, STUDY, "SH"),
    Attribute("ProcedureCodeSequence_CodeValue", 0x00080100, STUDY, "SH", _PROCEDURE_CODE_SEQUENCE),
    Attribute("ProcedureCodeSequence_CodingSchemeDesignator", 0x00080102, STUDY, "SH", _PROCEDURE_CODE_SEQUENCE),
    Attribute("ProcedureCodeSequence_CodeMeaning", 0x00080104, STUDY, "LO", _PROCEDURE_CODE_SEQUENCE),
    Attribute("SeriesInstanceUID", SERIES_INSTANCE_UID, SERIES, "UI"),
    Attribute("Modality", 0x00080060, SERIES, "CS"),
    Attribute("SeriesNumber", 0x00200011, SERIES, "IS"),
    Attribute("SeriesDescription", 0x0008103E, SERIES, "LO"),
    Attribute("SeriesDate", 0x00080021, SERIES, "DA"),
    Attribute("SeriesTime", 0x00080031, SERIES, "TM"),
    Attribute("ProtocolName", 0x00181030, SERIES, "LO"),
    Attribute("BodyPartExamined", 0x00180015, SERIES, "CS"),
    Attribute("Laterality", 0x00200060, SERIES, "CS"),
    Attribute("InstitutionName", 0x00080080, SERIES, "LO"),
    Attribute("InstitutionalDepartmentName", 0x00081040, SERIES, "LO"),
    Attribute("StationName", 0x00081010, SERIES, "SH"),
    Attribute("Manufacturer", 0x00080070, SERIES, "LO"),
    Attribute("ManufacturerModelName", 0x00081090, SERIES, "LO"),
    Attribute("DeviceSerialNumber", 0x00181000, SERIES, "LO"),
    Attribute("PerformingPhysicianName", 0x00081050, SERIES, "PN"),
    Attribute("OperatorsName", 0x00081070, SERIES, "PN"),
    Attribute("FrameOfReferenceUID", 0x00200052, SERIES, "UI"),
    Attribute("PerformedProcedureStepStartDate", 0x00400244, SERIES, "DA"),
    Attribute("PerformedProcedureStepStartTime", 0x00400245, SERIES, "TM"),
    Attribute("PerformedProcedureStepID", 0x00400253, SERIES, "SH"),
    Attribute("PerformedProcedureStepDescription", 0x00400254, SERIES, "LO"),
    Attribute("RequestAttributesSequence_RequestedProcedureID", 0x00401001, SERIES, "SH", _REQUEST_ATTRIBUTES_SEQUENCE),
    Attribute(
        "RequestAttributesSequence_ScheduledProcedureStepID", 0x00400009, SERIES, "SH", _REQUEST_ATTRIBUTES_SEQUENCE
    ),
    Attribute("SOPInstanceUID", SOP_INSTANCE_UID, INSTANCE, "UI"),
    Attribute("SOPClassUID", SOP_CLASS_UID, INSTANCE, "UI"),
    Attribute("InstanceNumber", 0x00200013, INSTANCE, "IS"),
    Attribute("AcquisitionNumber", 0x00200012, INSTANCE, "IS"),
    Attribute("AcquisitionDate", 0x00080022, INSTANCE, "DA"),
    Attribute("AcquisitionTime", 0x00080032, INSTANCE, "TM"),
    Attribute("AcquisitionDateTime", 0x0008002A, INSTANCE, "DT"),
    Attribute("ContentDate", 0x00080023, INSTANCE, "DA"),
    Attribute("ContentTime", 0x00080033, INSTANCE, "TM"),
    Attribute("InstanceCreationDate", 0x00080012, INSTANCE, "DA"),
    Attribute("InstanceCreationTime", 0x00080013, INSTANCE, "TM"),
    Attribute("ImageType", 0x00080008, INSTANCE, "CS"),
    Attribute("NumberOfFrames", 0x00280008, INSTANCE, "IS"),
    Attribute("Rows", 0x00280010, INSTANCE, "US"),
    Attribute("Columns", 0x00280011, INSTANCE, "US"),
    Attribute("BitsAllocated", 0x00280100, INSTANCE, "US"),
    Attribute("PhotometricInterpretation", 0x00280004, INSTANCE, "CS"),
    Attribute("CompletionFlag", 0x0040A491, INSTANCE, "CS"),
    Attribute("VerificationFlag", 0x0040A493, INSTANCE, "CS"),
    Attribute("ContentLabel", 0x00700080, INSTANCE, "CS"),
    Attribute("ContentDescription", 0x00700081, INSTANCE, "LO"),
    Attribute("SpecificCharacterSet", SPECIFIC_CHARACTER_SET, INSTANCE, "CS"),
)

BY_KEYWORD = {attribute.keyword: attribute for attribute in ATTRIBUTES}
BY_LEVEL = {level: tuple(a for a in ATTRIBUTES if a.level == level) for level in LEVELS}
WANTED = frozenset(attribute.sequence or attribute.tag for attribute in ATTRIBUTES)
"""The tags at the top level of a data set whose values the index needs."""
