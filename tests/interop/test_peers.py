"""The harness itself: the bare requestor, the tap and the comparison say what is so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .part10 import difference, read_part10
from .peers import available, dcmtk_storescp, dcmtk_storescu
from .samples import another_uid, collect
from .wire import VERIFICATION, Requestor, Tap, WireError

pytestmark = pytest.mark.interop

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def plain(samples: dict[str, Path]) -> Path:
    return next(path for path in samples.values() if path.name.endswith("-CT_small.dcm"))


def test_requestor_stores_what_it_says(tmp_path: Path, plain: Path, need: Callable[..., None]) -> None:
    need("DCMTK")
    part10 = read_part10(plain)
    contexts = [(part10.sop_class_uid, [EXPLICIT_VR_LITTLE_ENDIAN]), (VERIFICATION, ["1.2.840.10008.1.2"])]
    with dcmtk_storescp(tmp_path / "peer", "+B") as receiver:
        with Requestor(receiver.port, contexts) as association:
            assert association.echo() == 0
            assert association.store(*part10) == 0
        assert read_part10(receiver.stored()[part10.sop_instance_uid]) == part10


def test_tap_keeps_what_a_sender_sent(tmp_path: Path, plain: Path, need: Callable[..., None]) -> None:
    need("DCMTK")
    with dcmtk_storescp(tmp_path / "peer", "+B") as receiver:
        with Tap(receiver.port) as tap:
            assert dcmtk_storescu(tap.port, [plain]).exit_code == 0
        (message,) = tap.messages()
        (stored,) = receiver.stored().values()
        assert message.uid(0x00001000) == read_part10(plain).sop_instance_uid
        assert message.data_set == read_part10(stored).data_set


def test_requestor_raises_what_was_not_negotiated(tmp_path: Path, need: Callable[..., None]) -> None:
    need("DCMTK")
    with (
        dcmtk_storescp(tmp_path / "peer") as receiver,
        Requestor(receiver.port) as association,
        pytest.raises(WireError, match="not accepted"),
    ):
        association.store("1.2.840.10008.5.1.4.1.1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN, b"")


def test_difference_sees_a_changed_element_and_a_changed_pixel(tmp_path: Path, plain: Path) -> None:
    data = plain.read_bytes()
    assert difference(plain, plain) == ""
    other = tmp_path / "other.dcm"
    other.write_bytes(data.replace(b"CompressedSamples^CT1", b"CompressedSamples^CT2"))
    assert "(0010,0010)" in difference(plain, other)
    other.write_bytes(data[:-300] + bytes(300))
    assert difference(plain, other)


def test_every_sample_is_another_instance(samples: dict[str, Path], tmp_path: Path) -> None:
    assert len(samples) > 150
    assert len(set(samples.values())) == len(samples)
    assert {path.name.partition("-")[2] for path in collect(tmp_path / "broken", broken=True).values()} >= {
        "MR_truncated.dcm",
        "rtplan_truncated.dcm",
    }


def test_another_uid_has_the_same_length_and_no_leading_zero() -> None:
    uid = "1.2.840.10"
    fresh = another_uid(uid, {uid})
    assert fresh != uid
    assert len(fresh) == len(uid)
    assert not any(part.startswith("0") and part != "0" for part in fresh.split("."))


def test_absent_peers_can_be_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    available.cache_clear()
    monkeypatch.setenv("INTEROP_WITHOUT", "DCMTK,Orthanc")
    assert not available("DCMTK")
    assert available("pynetdicom")
    available.cache_clear()
