"""Which objects cannot be made safe."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dcmkit.deid import profile, suspicion
from dcmkit.deid.profile import Plan, Rule
from dcmkit.deid.suspicion import KINDS, Facts, Overrides
from dcmkit.uids import STORAGE_SOP_CLASSES, resolve


def plan(options="basic", *, tags=None, **overrides):
    rules = SimpleNamespace(tags=tags or {}, vrs={}, private={}, quarantine=Overrides(**overrides))
    return Plan(profile.parse(options), rules)


PLAIN = Plan(profile.parse("basic"))


def facts(keyword, modality="", **more):
    return Facts(resolve(keyword), modality, **more)


def kind(found, by=PLAIN, cleaning=False):
    reason = suspicion.reason(found, by, cleaning)
    if reason is None:
        return None
    assert "\n" not in reason
    assert not reason.endswith(".")
    return next(kind for kind, why in KINDS.items() if reason.startswith(f"{why}: "))


@pytest.mark.parametrize(
    ("keyword", "modality", "image_type"),
    [
        ("CTImageStorage", "CT", "ORIGINAL\\PRIMARY\\AXIAL"),
        ("CTImageStorage", "CT", "DERIVED\\SECONDARY\\MPR"),
        ("EnhancedCTImageStorage", "CT", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        ("MRImageStorage", "MR", "ORIGINAL\\PRIMARY\\M\\ND"),
        ("EnhancedMRImageStorage", "MR", ""),
        ("PositronEmissionTomographyImageStorage", "PT", "ORIGINAL\\PRIMARY"),
        ("NuclearMedicineImageStorage", "NM", "ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION"),
        ("ComputedRadiographyImageStorage", "CR", "ORIGINAL\\PRIMARY"),
        ("DigitalXRayImageStorageForPresentation", "DX", "ORIGINAL\\PRIMARY"),
        ("DigitalMammographyXRayImageStorageForPresentation", "MG", ""),
        ("BreastTomosynthesisImageStorage", "MG", ""),
        ("RTDoseStorage", "RTDOSE", ""),
        ("SegmentationStorage", "SEG", "DERIVED\\PRIMARY"),
        ("VLWholeSlideMicroscopyImageStorage", "SM", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        ("OphthalmicTomographyImageStorage", "OPT", ""),
    ],
)
def test_images_of_these_devices_pass(keyword, modality, image_type):
    for said in ("", "NO"):
        assert kind(facts(keyword, modality, image_type=image_type, burned_in=said)) is None
    assert kind(facts(keyword, modality, image_type=image_type, burned_in="YES")) == "burned-in-annotation"


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("UltrasoundImageStorage", "ultrasound"),
        ("UltrasoundMultiFrameImageStorage", "ultrasound"),
        ("UltrasoundMultiFrameImageStorageRetired", "ultrasound"),
        ("UltrasoundImageStorageRetired", "ultrasound"),
        ("EnhancedUSVolumeStorage", "ultrasound"),
        ("SecondaryCaptureImageStorage", "secondary-capture"),
        ("MultiFrameSingleBitSecondaryCaptureImageStorage", "secondary-capture"),
        ("MultiFrameGrayscaleByteSecondaryCaptureImageStorage", "secondary-capture"),
        ("MultiFrameGrayscaleWordSecondaryCaptureImageStorage", "secondary-capture"),
        ("MultiFrameTrueColorSecondaryCaptureImageStorage", "secondary-capture"),
        ("XRayAngiographicImageStorage", "angiography"),
        ("EnhancedXAImageStorage", "angiography"),
        ("XRayRadiofluoroscopicImageStorage", "angiography"),
        ("EnhancedXRFImageStorage", "angiography"),
        ("XRayAngiographicBiPlaneImageStorage", "angiography"),
        ("VLEndoscopicImageStorage", "photography"),
        ("VLMicroscopicImageStorage", "photography"),
        ("VLSlideCoordinatesMicroscopicImageStorage", "photography"),
        ("VLPhotographicImageStorage", "photography"),
        ("OphthalmicPhotography8BitImageStorage", "photography"),
        ("OphthalmicPhotography16BitImageStorage", "photography"),
        ("DermoscopicPhotographyImageStorage", "photography"),
        ("VideoEndoscopicImageStorage", "video"),
        ("VideoMicroscopicImageStorage", "video"),
        ("VideoPhotographicImageStorage", "video"),
        ("HardcopyGrayscaleImageStorage", "film"),
        ("HardcopyColorImageStorage", "film"),
    ],
)
def test_suspected_sop_classes_do_not_pass_without_blanking(keyword, expected):
    for said in ("", "NO"):
        found = facts(keyword, burned_in=said)
        assert kind(found) == expected
        assert kind(found, cleaning=True) is None
        assert kind(found, plan(passing=frozenset({expected}))) is None
    assert kind(facts(keyword, burned_in="YES"), plan(passing=frozenset({expected}))) == "burned-in-annotation"


@pytest.mark.parametrize(
    ("modality", "expected"),
    [("US", "ultrasound"), ("SC", "secondary-capture"), ("XA", "angiography"), ("RF", "angiography"),
     ("ES", "photography"), ("XC", "photography"), ("HC", "film")],
)  # fmt: skip
def test_suspected_modalities_are_so_in_any_image(modality, expected):
    assert kind(facts("CTImageStorage", modality)) == expected
    assert kind(facts("GrayscaleSoftcopyPresentationStateStorage", modality, pixels=False)) is None


@pytest.mark.parametrize("image_type", ["SCREEN SAVE", "SCREEN_SAVE", "DOSE_INFO", "CSA REPORT"])
def test_pictures_of_a_screen_are_secondary_captures_whatever_they_say_they_are(image_type):
    assert kind(facts("CTImageStorage", "CT", image_type=f"DERIVED\\SECONDARY\\{image_type}")) == "secondary-capture"


def test_conversion_type():
    assert kind(facts("ComputedRadiographyImageStorage", "CR", conversion_type="DF")) == "secondary-capture"
    assert kind(facts("CTImageStorage", "CT", conversion_type="WSD")) == "secondary-capture"
    assert kind(facts("RTImageStorage", "RTIMAGE", conversion_type="WSD")) is None
    assert kind(facts("RTImageStorage", "RTIMAGE", conversion_type="DF")) == "secondary-capture"


def test_labels_of_slides():
    for flavor in ("LABEL", "OVERVIEW"):
        found = facts("VLWholeSlideMicroscopyImageStorage", "SM", image_type=f"ORIGINAL\\PRIMARY\\{flavor}\\NONE")
        assert kind(found) == "label"


def test_burned_in_annotation_no_is_believed_only_if_rules_say_so():
    believing = plan(believe_no=True)
    for keyword in ("SecondaryCaptureImageStorage", "XRayAngiographicImageStorage", "UltrasoundImageStorage"):
        assert kind(facts(keyword, burned_in="NO")) is not None
        assert kind(facts(keyword, burned_in="NO"), believing) is None
        assert kind(facts(keyword), believing) is not None
        assert kind(facts(keyword, burned_in="YES"), believing) == "burned-in-annotation"
    assert kind(facts("VideoEndoscopicImageStorage", burned_in="NO"), believing) == "video"


def test_what_says_neither_yes_nor_no_is_taken_for_yes():
    assert kind(facts("CTImageStorage", "CT", burned_in="TRUE")) == "burned-in-annotation"


def test_encapsulated_documents_pass_once_a_dummy_replaces_them():
    for keyword in ("EncapsulatedPDFStorage", "EncapsulatedCDAStorage", "EncapsulatedSTLStorage"):
        found = facts(keyword, "US", pixels=False, document=True)
        assert kind(found) is None
        keeping = plan(tags={0x00420011: Rule("K", "rules.toml")})
        assert kind(found, keeping) == "document"
        assert kind(found, keeping, cleaning=True) == "document"


def test_recorded_speech():
    for keyword in ("BasicVoiceAudioWaveformStorage", "GeneralAudioWaveformStorage"):
        assert kind(facts(keyword, "AU", pixels=False)) == "audio"
        assert kind(facts(keyword, "AU", pixels=False), cleaning=True) == "audio"
    assert kind(facts("TwelveLeadECGWaveformStorage", "ECG", pixels=False)) is None


def test_video_syntaxes():
    for uid in ("1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.100.1", "1.2.840.10008.1.2.4.108"):
        assert kind(facts("CTImageStorage", "CT", transfer_syntax_uid=uid)) == "video"
    for uid in ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"):
        assert kind(facts("CTImageStorage", "CT", transfer_syntax_uid=uid)) is None


@pytest.mark.parametrize("uid", ["1.2.840.113619.4.26", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999", "x", ""])
def test_unknown_sop_classes(uid):
    assert kind(Facts(uid, "MR")) == "unknown-sop-class"
    assert kind(Facts(uid, "MR"), cleaning=True) is None
    assert kind(Facts(uid, "MR", pixels=False), cleaning=True) == "unknown-sop-class"
    assert kind(Facts(uid, "MR"), plan(passing=frozenset({"unknown-sop-class"}))) is None
    if uid:
        assert kind(Facts(uid, "MR"), plan(passing=frozenset({uid}))) is None
        assert kind(Facts(uid, "US"), plan(passing=frozenset({uid}))) is None


def test_every_storage_sop_class_is_decided():
    for uid in STORAGE_SOP_CLASSES:
        assert kind(Facts(uid)) != "unknown-sop-class"


def test_recognizable_patients_with_the_option_that_cleans_them():
    found = facts("CTImageStorage", "CT", recognizable="YES")
    assert kind(found) is None
    faceless = plan("basic,clean-recognizable-visual-features")
    assert kind(found, faceless) == "face"
    assert kind(found, faceless, cleaning=True) is None
    for modality, part, suspected in (
        ("CT", "HEAD", "face"), ("MR", "", "face"), ("PT", "WHOLEBODY", "face"), ("CT", "CHEST", None),
        ("CR", "", None),
    ):  # fmt: skip
        assert kind(facts("CTImageStorage", modality, body_part=part), faceless) == suspected
        assert kind(facts("CTImageStorage", modality, body_part=part, recognizable="NO"), faceless) is None
        assert kind(facts("CTImageStorage", modality, body_part=part)) is None


def test_rules_hold_and_let_pass():
    ultrasound = facts("UltrasoundImageStorage", "US")
    assert kind(ultrasound, plan(passing=frozenset({"US"}))) is None
    assert kind(ultrasound, plan(passing=frozenset({resolve("UltrasoundImageStorage")}))) is None
    both = frozenset({"US"})
    assert "hold" in suspicion.reason(ultrasound, plan(passing=both, held=both), False)
    holding = plan(held=frozenset({"CT"}))
    assert "hold" in suspicion.reason(facts("CTImageStorage", "CT"), holding, False)
    assert suspicion.reason(facts("CTImageStorage", "CT"), holding, True) is None


def test_facts_of_an_object():
    texts = {
        0x00080016: "1.2.840.10008.5.1.4.1.1.7", 0x00080060: "us ", 0x00080008: "derived\\secondary \\",
        0x00280301: "no", 0x00280302: "Yes", 0x00080064: "WSD", 0x00080070: "Maker", 0x00081090: "Model",
    }  # fmt: skip
    numbers = {0x00280010: 480, 0x00280011: 640}
    found = suspicion.facts_of(lambda tag: texts.get(tag, ""), "1.2", "1.2.3", lambda tag: numbers.get(tag, 0))
    assert found == Facts(
        "1.2.840.10008.5.1.4.1.1.7",
        "US",
        "NO",
        "YES",
        "WSD",
        "DERIVED\\SECONDARY\\",
        "Maker",
        "Model",
        "1.2.3",
        480,
        640,
    )
    bare = suspicion.facts_of(lambda _: "", "1.2")
    assert bare == Facts("1.2", pixels=False)
    assert suspicion.facts_of(lambda tag: "\2" if tag == 0x00280010 else "", "1.2").pixels
    assert suspicion.facts_of(lambda tag: "application/pdf" if tag == 0x00420012 else "", "1.2").document


def test_reasons_say_what_to_do_and_no_value():
    found = Facts("1.2.3", "US", "MILLER", image_type="MILLER", manufacturer="MILLER")
    for options in ({}, {"passing": frozenset({"burned-in-annotation"})}):
        reason = suspicion.reason(found, plan(**options), False)
        assert "MILLER" not in reason
        assert "[quarantine] pass" in reason
