"""Objects that a hospital would have, valid for dciodvfy: patients with studies whose objects refer to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from tests.deid.planted.values import Planter

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CT, MR, CR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.1"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
PDF, CDA = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.3"


@dataclass
class Study:
    """One study of a patient, and the objects in it so far."""

    planter: Planter
    name: str
    identity: str
    birth: date
    day: date
    charset: str = "ISO_IR 192"
    uid: str = ""
    frame: str = ""
    accession: str = ""
    series: dict[str, str] = field(default_factory=dict)
    images: list[Dataset] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uid, self.frame = self.planter.uid(), self.planter.uid()
        self.accession = self.planter.token()

    def series_uid(self, modality: str) -> str:
        """The one series of a modality."""
        return self.series.setdefault(modality, self.planter.uid())


def example(name: str) -> Dataset:
    """One of pydicom's bundled files, completely read."""
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), name
    data_set = dcmread(path, force=True)
    for _ in data_set.iterall():
        pass
    return data_set


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """A code sequence of one item."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def made(**values: object) -> Dataset:
    """A data set by keywords."""
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def reference(data_set: Dataset) -> Dataset:
    """An item that refers to an instance."""
    return made(ReferencedSOPClassUID=data_set.SOPClassUID, ReferencedSOPInstanceUID=data_set.SOPInstanceUID)


def describe(data_set: Dataset, study: Study, modality: str) -> Dataset:
    """Plant what modules of every IOD have: patient, study, series, equipment, SOP common."""
    p = study.planter
    for keyword in ("ClinicalTrialSubjectID", "DeidentificationMethod", "PatientIdentityRemoved"):
        if keyword in data_set:
            delattr(data_set, keyword)
    day, later = study.day.strftime("%Y%m%d"), (study.day + timedelta(3)).strftime("%Y%m%d")
    data_set.SpecificCharacterSet = study.charset.split("\\")
    data_set.update(
        made(
            InstanceCreationDate=later, InstanceCreationTime=p.clock(), InstanceCreatorUID=p.uid(),
            SOPInstanceUID=p.uid(), StudyDate=day, StudyTime=p.clock(), SeriesDate=day, SeriesTime=p.clock(),
            AccessionNumber=study.accession, Modality=modality, ReferringPhysicianName=p.name(),
            StudyDescription=p.text("LO"), SeriesDescription="CHEST " + study.name.split("^")[0] + " " + p.token(),
            PhysiciansOfRecord=p.name(), NameOfPhysiciansReadingStudy=p.name(),
            AdmittingDiagnosesDescription=p.text("LO"),
            PatientName=study.name, PatientID=study.identity, PatientBirthDate=study.birth.strftime("%Y%m%d"),
            PatientBirthTime=p.clock(), PatientSex="F", IssuerOfPatientID=p.token(), OtherPatientNames=p.name(),
            EthnicGroup=p.token(), PatientAge=f"{(study.day - study.birth).days // 365:03}Y", PatientSize="1.7031",
            PatientWeight="71.5312", Occupation=p.token(), AdditionalPatientHistory=p.text("LT"),
            MedicalAlerts=p.text("LO"), Allergies=p.text("LO"), PatientComments=p.text("LT"),
            SmokingStatus="NO", PregnancyStatus=4,
            StudyInstanceUID=study.uid, SeriesInstanceUID=study.series_uid(modality), StudyID=p.token(),
            Manufacturer="ACME", ManufacturerModelName="Scan 5", InstitutionName=p.text("LO"),
            InstitutionAddress=p.text("ST"), StationName=p.token(), InstitutionalDepartmentName=p.text("LO"),
            DeviceSerialNumber=p.token(), DateOfLastCalibration=[day, later],
            TimeOfLastCalibration=[p.clock(), p.clock()], DeviceUID=p.uid(),
            OperatorsName=[p.name(), p.name()], PerformingPhysicianName=p.name(),
            PerformedProcedureStepStartDate=day, PerformedProcedureStepStartTime=p.clock(),
            PerformedProcedureStepID=p.token(), PerformedProcedureStepDescription=p.text("LO"),
            SeriesNumber=3, InstanceNumber=7, TimezoneOffsetFromUTC="+0100", StudyComments=p.text("LT"),
        )
    )  # fmt: skip
    data_set.OtherPatientIDsSequence = [
        made(PatientID=p.token(), IssuerOfPatientID=p.token(), TypeOfPatientID="TEXT"),
        made(PatientID=p.token(), TypeOfPatientID="TEXT"),
    ]
    data_set.RequestAttributesSequence = [
        made(
            RequestedProcedureID=p.token(),
            ScheduledProcedureStepID=p.token(),
            RequestedProcedureDescription=p.text("LO"),
        )
    ]  # fmt: skip
    data_set.ReferencedStudySequence = [made(ReferencedSOPClassUID=STUDY_COMPONENT, ReferencedSOPInstanceUID=study.uid)]
    data_set.ReferringPhysicianIdentificationSequence = [
        made(PersonIdentificationCodeSequence=[p.code()], InstitutionName=p.text("LO"), PersonAddress=p.text("ST"))
    ]
    data_set.OperatorIdentificationSequence = [
        made(PersonIdentificationCodeSequence=[p.code()], InstitutionName=p.text("LO")) for _ in "ab"
    ]
    data_set.ContributingEquipmentSequence = [
        made(
            PurposeOfReferenceCodeSequence=code("109101", "DCM", "Acquisition Equipment"), Manufacturer="ACME",
            InstitutionName=p.text("LO"), StationName=p.token(), OperatorsName=p.name(), DeviceSerialNumber=p.token(),
            ContributionDateTime=later + p.clock(), ContributionDescription=p.text("ST"), DeviceUID=p.uid(),
        )
    ]  # fmt: skip
    data_set.OriginalAttributesSequence = [
        made(
            SourceOfPreviousValues=p.token(), AttributeModificationDateTime=later + p.clock(),
            ModifyingSystem=p.token(), ReasonForTheAttributeModification="COERCE",
            ModifiedAttributesSequence=[made(PatientName=p.name(), PatientID=p.token(), StudyDate=day)],
        )
    ]  # fmt: skip
    return data_set


def ct(study: Study, *, private: bool = False) -> Dataset:
    """A CT slice of 16 x 16."""
    data_set = example("CT_small.dcm")
    if not private:
        data_set.remove_private_tags()
    data_set.Rows = data_set.Columns = 16
    data_set.PixelData = data_set.PixelData[:512]
    data_set.pop("Laterality", None)
    describe(data_set, study, "CT")
    p, day = study.planter, study.day.strftime("%Y%m%d")
    data_set.FrameOfReferenceUID = study.frame
    data_set.PositionReferenceIndicator = "SN"
    data_set.update(
        made(
            AcquisitionDate=day, AcquisitionTime=p.clock(), ContentDate=day, ContentTime=p.clock(),
            AcquisitionDateTime=day + p.clock() + "+0100", ImageComments=p.text("LT"), ProtocolName=p.text("LO"),
            AcquisitionComments=p.text("LT"), IrradiationEventUID=p.uid(), DerivationDescription=p.text("ST"),
            ContrastBolusAgent=p.text("LO"), BodyPartExamined="CHEST", KVP="120", PatientPosition="HFS",
        )
    )  # fmt: skip
    if study.images:
        data_set.ReferencedImageSequence = [reference(image) for image in study.images[:2]]
        data_set.SourceImageSequence = [reference(study.images[0])]
    study.images.append(data_set)
    return data_set


def mr(study: Study, name: str = "MR_small.dcm") -> Dataset:
    """An MR slice as pydicom has it, in any syntax."""
    data_set = example(name)
    describe(data_set, study, "MR")
    data_set.FrameOfReferenceUID = study.frame
    data_set.AcquisitionDate = data_set.ContentDate = study.day.strftime("%Y%m%d")
    data_set.ImageComments = study.planter.text("LT")
    study.images.append(data_set)
    return data_set


def presentation_state(study: Study) -> Dataset:
    """A grayscale softcopy presentation state with texts, arrows and layers."""
    p = study.planter
    image = study.images[0]
    data_set = describe(made(SOPClassUID=GSPS, BodyPartExamined="CHEST"), study, "PR")
    annotation = made(
        ReferencedImageSequence=[reference(image)],
        GraphicLayer="LAYER",
        TextObjectSequence=[
            made(
                BoundingBoxAnnotationUnits="PIXEL", UnformattedTextValue=p.text("ST"),
                BoundingBoxTopLeftHandCorner=[1.0, 1.0], BoundingBoxBottomRightHandCorner=[9.0, 9.0],
                BoundingBoxTextHorizontalJustification="LEFT",
            )
        ],
        GraphicObjectSequence=[
            made(
                GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=2,
                GraphicData=[1.0, 2.0, 3.0, 4.0], GraphicType="POLYLINE", GraphicFilled="N",
            )
        ],
    )  # fmt: skip
    data_set.update(
        made(
            ContentLabel="LABEL", ContentDescription=p.text("LO"), ContentCreatorName=p.name(),
            PresentationCreationDate=study.day.strftime("%Y%m%d"), PresentationCreationTime=p.clock(),
            GraphicAnnotationSequence=[annotation], PresentationLUTShape="IDENTITY",
            GraphicLayerSequence=[
                made(GraphicLayer="LAYER", GraphicLayerOrder=1, GraphicLayerDescription="arrows")
            ],
            DisplayedAreaSelectionSequence=[
                made(
                    ReferencedImageSequence=[reference(image)], DisplayedAreaTopLeftHandCorner=[1, 1],
                    DisplayedAreaBottomRightHandCorner=[16, 16], PresentationSizeMode="SCALE TO FIT",
                    PresentationPixelAspectRatio=[1, 1],
                )
            ],
            ReferencedSeriesSequence=[
                made(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedImageSequence=[reference(image)])
            ],
        )
    )  # fmt: skip
    return data_set


def encapsulated(study: Study, kind: str) -> Dataset:
    """A PDF or CDA document full of names."""
    p = study.planter
    text = f"%PDF-1.4 {study.name} {p.token()}\n%%EOF\n"
    mime = "application/pdf"
    if kind == CDA:
        text, mime = f"<ClinicalDocument><title>{study.name} {p.token()}</title></ClinicalDocument>\n", "text/XML"
    data_set = describe(made(SOPClassUID=kind), study, "DOC")
    data_set.update(
        made(
            ConversionType="WSD", ContentDate=study.day.strftime("%Y%m%d"), ContentTime=p.clock(),
            AcquisitionDateTime=study.day.strftime("%Y%m%d") + p.clock(), BurnedInAnnotation="NO",
            DocumentTitle="REPORT", ConceptNameCodeSequence=code("18782-3", "LN", "Radiology Report"),
            MIMETypeOfEncapsulatedDocument=mime, EncapsulatedDocument=text.encode() + b" " * (len(text.encode()) % 2),
            EncapsulatedDocumentLength=len(text.encode()),
        )
    )  # fmt: skip
    if kind == CDA:
        data_set.HL7InstanceIdentifier = p.uid()
    return data_set


def radiotherapy(study: Study) -> list[Dataset]:
    """A structure set, a plan for it, a dose of that."""
    p = study.planter
    structures, plan, dose = (example(name) for name in ("rtstruct.dcm", "rtplan.dcm", "rtdose_1frame.dcm"))
    for data_set, modality in ((structures, "RTSTRUCT"), (plan, "RTPLAN"), (dose, "RTDOSE")):
        describe(data_set, study, modality)
    for data_set in (structures, plan, dose):
        data_set.FrameOfReferenceUID, data_set.PositionReferenceIndicator = study.frame, ""
    structures.StructureSetLabel, structures.StructureSetName = p.token(), p.text("LO")
    for frame in structures.ReferencedFrameOfReferenceSequence:
        frame.FrameOfReferenceUID = study.frame
        for referenced in frame.RTReferencedStudySequence:
            referenced.ReferencedSOPInstanceUID = study.uid
            for series in referenced.RTReferencedSeriesSequence:
                series.SeriesInstanceUID = study.images[0].SeriesInstanceUID
                series.ContourImageSequence = [reference(image) for image in study.images]
    for number, roi in enumerate(structures.StructureSetROISequence):
        roi.ROIName, roi.ROIDescription = p.token(), p.text("ST")
        roi.ReferencedFrameOfReferenceUID = study.frame
        structures.RTROIObservationsSequence[number].ROIInterpreter = p.name()
    plan.update(
        made(
            RTPlanLabel=p.token(), RTPlanName=p.text("LO"), RTPlanDescription=p.text("ST"), RTPlanTime=p.clock(),
            RTPlanDate=study.day.strftime("%Y%m%d"),
            ReferencedStructureSetSequence=[reference(structures)],
        )
    )  # fmt: skip
    for beam in plan.BeamSequence:
        beam.TreatmentMachineName, beam.BeamDescription = p.token(), p.text("ST")
        beam.DeviceSerialNumber, beam.InstitutionName = p.token(), p.text("LO")
    dose.BitsAllocated = dose.BitsStored = 16
    dose.HighBit = 15
    dose.PixelData = dose.PixelData[: len(dose.PixelData) // 2]
    dose.ReferencedRTPlanSequence = [reference(plan)]
    dose.DoseComment = "all of it"
    return [structures, plan, dose]


def segmentation(study: Study) -> Dataset:
    """A segmentation of the study's images."""
    p = study.planter
    data_set = describe(example("liver_1frame.dcm"), study, "SEG")
    data_set.FrameOfReferenceUID = study.frame
    data_set.ContentCreatorName = p.name()
    data_set.NumberOfFrames = 1
    del data_set.PerFrameFunctionalGroupsSequence[1:]
    series = data_set.ReferencedSeriesSequence[0]
    series.SeriesInstanceUID = study.images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference(image) for image in study.images]
    for segment in data_set.SegmentSequence:
        segment.TrackingUID, segment.TrackingID = p.uid(), "lesion"
    for number, frame in enumerate(data_set.PerFrameFunctionalGroupsSequence):
        for derivation in frame.get("DerivationImageSequence", []):
            for source in derivation.get("SourceImageSequence", []):
                source.ReferencedSOPInstanceUID = study.images[number % len(study.images)].SOPInstanceUID
        frame.FrameContentSequence[0].FrameReferenceDateTime = study.day.strftime("%Y%m%d") + p.clock()
        frame.FrameContentSequence[0].FrameComments = p.text("LT")
    data_set.DimensionOrganizationSequence[0].DimensionOrganizationUID = p.uid()
    for index in data_set.DimensionIndexSequence:
        index.DimensionOrganizationUID = data_set.DimensionOrganizationSequence[0].DimensionOrganizationUID
    return data_set


def waveform(study: Study) -> Dataset:
    """A short electrocardiogram with annotations."""
    p = study.planter
    data_set = describe(example("waveform_ecg.dcm"), study, "ECG")
    del data_set.WaveformSequence[1:]
    group = data_set.WaveformSequence[0]
    group.NumberOfWaveformSamples = 50
    group.WaveformData = group.WaveformData[: 50 * 2 * group.NumberOfWaveformChannels]
    group.MultiplexGroupLabel = p.token()
    group.pop("MultiplexGroupTimeOffset", None)
    for number, channel in enumerate(group.ChannelDefinitionSequence):
        channel.ChannelLabel = f"{p.token()} {number}"
    day = study.day.strftime("%Y%m%d")
    data_set.AcquisitionDateTime, data_set.ContentDate, data_set.ContentTime = day + p.clock(), day, p.clock()
    data_set.WaveformAnnotationSequence = [
        made(UnformattedTextValue=p.text("ST"), ReferencedWaveformChannels=[1, 0], AnnotationGroupNumber=1)
    ]
    data_set.pop("Laterality", None)
    return data_set
