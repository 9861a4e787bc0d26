"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dcmkit import logs

# No deadlines: the suite runs in parallel on busy machines, and speed is the benchmarks' business.
settings.register_profile("dcmkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dcmkit")


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that ran in this process has told the log where to go."""
    yield
    logs.reset()
