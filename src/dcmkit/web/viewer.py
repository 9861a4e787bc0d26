"""A prebuilt viewer (OHIF's `dist` folder, for instance), served beside the service; dcmkit comes without one."""

from __future__ import annotations

import os
from typing import Any

from dcmkit.errors import UsageError

PATH = "/ohif"


class WithViewer:
    """An application, with the files of a folder at `/ohif/`.

    A path without a file is the viewer's own (it routes in the browser): the answer is its first page.

    Raises:
        UsageError: the folder has no index.html, or is built for another path.
    """

    def __init__(self, app: Any, folder: str) -> None:
        from starlette.staticfiles import StaticFiles

        if not os.path.isfile(os.path.join(folder, "index.html")):
            raise UsageError("there is no viewer in this folder", hint=f"it has no index.html: {folder}")
        self._app = app
        self._files = StaticFiles(directory=folder, html=True)
        self._folder = os.path.realpath(folder)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == PATH or path.startswith(PATH + "/")):
            await self._app(scope, receive, send)
            return
        if path == PATH:
            await _redirect(send)
            return
        inner = path[len(PATH) :]
        found = os.path.realpath(os.path.join(self._folder, inner.lstrip("/")))
        inside = found == self._folder or found.startswith(self._folder + os.sep)
        if not (inside and os.path.isfile(found)):
            inner = "/"
        await self._files({**scope, "path": inner, "root_path": ""}, receive, send)


async def _redirect(send: Any) -> None:
    headers = [(b"location", (PATH + "/").encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
