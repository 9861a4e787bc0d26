"""Many files to one origin server over several connections at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dcmkit.errors import NetworkError
from dcmkit.web.stow_client import Limits, StowClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dcmkit.services.sending import Sent
    from dcmkit.web.http_client import HttpClient


class StowJobs:
    """Threads that take files from one row, each with a connection of its own.

    Args:
        make: a client for each thread.
        jobs: how many.
        limits: of the requests of each.
        target: path and query that objects are posted to; "" for what the clients' URL says.

    Attributes:
        error: what ended all of it early; None where nothing did.
    """

    def __init__(
        self, make: Callable[[], HttpClient], *, jobs: int = 1, limits: Limits | None = None, target: str = ""
    ) -> None:
        self._make, self._jobs, self._limits, self._target = make, jobs, limits or Limits(), target
        self._lock = threading.Lock()
        self._source: Iterator[str] = iter(())
        self._taken: list[str] = []
        self._stop = False
        self._crash: BaseException | None = None
        self.error: NetworkError | None = None

    def store(self, paths: Iterable[str], report: Callable[[Sent], None]) -> list[str]:
        """Store files; each is reported once, by one thread at a time.

        Args:
            paths: taken one after the other, as they are needed.
            report: see `StowClient.store`.

        Returns:
            Those that were taken and neither stored nor reported, since `error` came first.

        Raises:
            DcmkitError: what `paths`, `report` or making a client raises.
        """
        self._source = iter(paths)
        clients = [self._make() for _ in range(self._jobs)]
        if self._jobs == 1:
            self._run(clients[0], report)
        else:
            threads = [
                threading.Thread(target=self._run, args=(client, report), name=f"stow-{number}", daemon=True)
                for number, client in enumerate(clients, 1)
            ]
            try:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            finally:
                self._stop = True
        if self._crash is not None:
            raise self._crash
        return self._taken

    def _run(self, client: HttpClient, report: Callable[[Sent], None]) -> None:
        def reported(sent: Sent) -> None:
            with self._lock:
                self._taken.remove(sent.path)
                report(sent)

        try:
            with client:
                stow = StowClient(client, self._limits, target=self._target)
                stow.store(self._row(), reported, lambda: self._stop)
        except NetworkError as error:
            self.error = self.error or error
        except BaseException as error:
            self._crash = self._crash or error
        finally:
            if self.error or self._crash:
                self._stop = True

    def _row(self) -> Iterator[str]:
        """The next file nobody else has."""
        while not self._stop:
            with self._lock:
                path = next(self._source, None)
                if path is None:
                    return
                self._taken.append(path)
            yield path
