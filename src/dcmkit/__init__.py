"""dcmkit: the DICOM toolbox. Importing this package imports nothing else."""

__version__ = "0.1.0"

IMPLEMENTATION_CLASS_UID = "2.25.301949553054558077233527027332085721407"
"""Implementation Class UID (PS3.7 D.3.3.2); a UUID-derived UID (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME = f"DCMKIT_{__version__}"
"""Implementation Version Name, at most 16 characters (PS3.7 D.3.3.2)."""
