"""Two threads at the same SOP Instance, one after the other; at different ones, side by side."""

from __future__ import annotations

import threading

from dcmkit.archive.claims import Claims


def test_the_second_waits_for_the_first():
    claims = Claims()
    claims.claim("1.2.3")
    claims.claim("1.2.4")
    has_it = threading.Event()

    def second() -> None:
        claims.claim("1.2.3")
        has_it.set()
        claims.release("1.2.3")

    thread = threading.Thread(target=second)
    thread.start()
    assert not has_it.wait(0.02)
    claims.release("1.2.4")
    assert not has_it.wait(0.02)
    claims.release("1.2.3")
    assert has_it.wait(30)
    thread.join()
    assert claims.filings == 3
