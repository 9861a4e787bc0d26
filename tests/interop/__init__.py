"""dcmkit against other toolkits, both ways: DCMTK, pynetdicom and Orthanc as real processes on the loopback."""
