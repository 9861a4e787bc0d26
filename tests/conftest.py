"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadlines: the suite runs in parallel on busy machines, and speed is the benchmarks' business.
settings.register_profile("dcmkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dcmkit")
