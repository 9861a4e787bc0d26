"""Requests that read: made again while the server is busy or the connection is lost, each error said in words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dcmkit.errors import ConnectError, ConnectionLostError, NetworkError, PeerTimeoutError, ProtocolError
from dcmkit.logs import escape, get_logger
from dcmkit.web import http_response
from dcmkit.web.http_response import ANSWER_LIMIT, HttpStatusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.web.http_client import HttpClient
    from dcmkit.web.http_response import Response

log = get_logger("web")

_T = TypeVar("_T")

BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""The server cannot do it now (RFC 9110 15.5.9, 15.6; RFC 6585 4): nothing is wrong with the request."""
GROWTH = 4 << 30
"""Bytes that a compressed body may become."""
_LOOK_EVERY = 0.25


class Patience(NamedTuple):
    """How often, and how long.

    Attributes:
        retries: further requests for the same thing.
        delay: seconds before the first of them; twice as many before each further one.
        longest_wait: seconds between them at most, whatever Retry-After says.
    """

    retries: int = 3
    delay: float = 1.0
    longest_wait: float = 120.0


class Asker:
    """Reads from one server over one connection; each thread has its own.

    Args:
        client: its origin is the server's; targets are given with each request.
        sleep: how waiting is done; tests do not.
        stopped: asked while waiting; once it says yes, nothing is tried again.
    """

    def __init__(
        self,
        client: HttpClient,
        patience: Patience | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client, self.patience = client, patience or Patience()
        self._sleep, self._stopped = sleep, stopped

    def get(self, target: str, accept: str, *, identity: bool = False) -> Response:
        """The answer to a GET, whose status is a success; its body has not been read yet.

        Args:
            identity: that the body be not compressed: it is long, and will not get shorter.

        Raises:
            HttpStatusError: the server refuses, or is busy beyond patience.
            NetworkError: it cannot be reached.
        """
        return self._patiently(lambda: self._once(target, accept, identity))

    def fetch(self, target: str, accept: str, limit: int = ANSWER_LIMIT) -> tuple[Response, bytes]:
        """The answer to a GET with all of its body.

        Raises:
            HttpStatusError, NetworkError: as `get`.
            ProtocolError: the body is longer than the limit.
        """

        def whole() -> tuple[Response, bytes]:
            response = self._once(target, accept, False)
            return response, response.read(limit)

        return self._patiently(whole)

    def wait(self, attempt: int, error: NetworkError) -> bool:
        """Before another attempt; False when there should be none."""
        if attempt >= self.patience.retries or not _passes(error) or self._stopped():
            return False
        asked = getattr(error, "retry_after", None)
        seconds = self.patience.delay * 2.0 ** min(attempt, 16) if asked is None else asked
        left = min(seconds, self.patience.longest_wait)
        log.warning("%s; asking again in %.3g s", error.message, left)
        while left > 0 and not self._stopped():
            self._sleep(min(left, _LOOK_EVERY))
            left -= _LOOK_EVERY
        return not self._stopped()

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        attempt = 0
        while True:
            try:
                return ask()
            except NetworkError as error:
                if not self.wait(attempt, error):
                    raise
            attempt += 1

    def _once(self, target: str, accept: str, identity: bool) -> Response:
        headers = [("Accept", accept)]
        if identity:
            headers.append(("Accept-Encoding", "identity"))
        response = self.client.request("GET", target, headers=headers)
        if 200 <= response.status < 300:
            return response
        error = status_error(response)
        response.skip()
        raise error


class RefusedError(HttpStatusError):
    """The server refuses.

    Attributes:
        retry_after: seconds that it asks us to wait; None where it does not.
    """

    retry_after: float | None = None


def status_error(response: Response) -> HttpStatusError:
    """What a status that is no success means to who asked for something, and when to ask again."""
    error = http_response.status_error(response.status, RefusedError)
    if response.status in BUSY:
        from dcmkit.web.stow_client import retry_after

        error.retry_after = retry_after(response.header("Retry-After"), time.time())
    return error


def bounded(response: Response) -> Iterator[bytes]:
    """The pieces of a long body. One that is compressed, which was not asked for, may only grow so far.

    Raises:
        NetworkError: it ends early, is damaged, or grows further.
    """
    left = GROWTH if response.header("Content-Encoding").strip() else 0
    for piece in response.pieces():
        yield piece
        if left:
            left -= len(piece)
            if left <= 0:
                response.close()
                raise ProtocolError(f"the server's compressed answer becomes longer than {GROWTH} bytes")


def warnings(response: Response) -> str:
    """What a Warning header says (RFC 7234 5.5; PS3.18 8.3.4.2), safe to be shown; "" for nothing."""
    return escape(response.header("Warning")[:300])


def _passes(error: NetworkError) -> bool:
    """Whether it may be well the next time."""
    if isinstance(error, HttpStatusError):
        return error.status in BUSY
    return isinstance(error, (ConnectError, ConnectionLostError, PeerTimeoutError))
