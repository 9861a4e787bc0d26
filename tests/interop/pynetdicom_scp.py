"""A storage SCP made of pynetdicom's AE: `python pynetdicom_scp.py PORT DIRECTORY`. Runs until it is ended."""

from __future__ import annotations

import os
import sys

from pydicom import config as pydicom_config
from pydicom import uid
from pynetdicom import AE, _config, evt
from pynetdicom.events import Event
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import Verification

COLOR_PALETTE_STORAGE = "1.2.840.10008.5.1.4.39.1"


def store(event: Event, directory: str) -> int:
    """Write the data set as received behind fresh file meta information."""
    name = os.path.join(directory, f"{event.request.AffectedSOPInstanceUID}.dcm")
    with open(name, "wb") as sink:
        sink.write(event.encoded_dataset())
    return 0x0000


def main() -> None:
    """Listen on all storage SOP classes and every transfer syntax pydicom knows."""
    port, directory = int(sys.argv[1]), sys.argv[2]
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    entity = AE(ae_title="PYNETDICOM")
    entity.maximum_pdu_size = 0
    entity.add_supported_context(Verification)
    for abstract_syntax in [
        COLOR_PALETTE_STORAGE,
        *(context.abstract_syntax for context in AllStoragePresentationContexts),
    ]:
        entity.add_supported_context(abstract_syntax, uid.AllTransferSyntaxes)
    handlers = [(evt.EVT_C_STORE, store, [directory])]
    entity.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers)


if __name__ == "__main__":
    main()
