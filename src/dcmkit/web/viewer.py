"""A prebuilt OHIF viewer (the `dist` folder of its npm package), served beside the service; dcmkit comes without one.

It is built for the root of a host. What says so in its pages and scripts is written anew into a folder of our own when
the server starts, together with a configuration that names this service; the viewer's own folder is only read.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from dcmkit.errors import InputError, UsageError

PATH = "/ohif"
_OWN_ROOT = b'__webpack_require__.p = "/"'
_LARGEST_SCRIPT = 64 << 20
_CONFIGURATION = "app-config.js"


class WithViewer:
    """An application, with the files of a viewer at `/ohif/`.

    A path without a file is the viewer's own (it routes in the browser): the answer is its first page.

    Args:
        app: answers everything else.
        folder: has the viewer's index.html.
        root: path of the DICOMweb service.

    Raises:
        UsageError: there is no viewer in the folder.
        InputError: it cannot be read.
    """

    def __init__(self, app: Any, folder: str, root: str = "/dicom-web") -> None:
        from starlette.staticfiles import StaticFiles

        if not os.path.isfile(os.path.join(folder, "index.html")):
            raise UsageError("there is no viewer in this folder", hint=f"it has no index.html: {folder}")
        self._app = app
        self._own = tempfile.TemporaryDirectory(prefix="dcmkit-viewer-", ignore_cleanup_errors=True)
        try:
            _adapt(folder, self._own.name, root)
        except OSError as error:
            self._own.cleanup()
            raise InputError(f"the viewer cannot be read: {error.strerror}", hint=folder) from None
        self._folders = [(os.path.realpath(place), StaticFiles(directory=place)) for place in (self._own.name, folder)]

    def close(self) -> None:
        """Remove what was written."""
        self._own.cleanup()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == PATH or path.startswith(PATH + "/")):
            await self._app(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, (b"allow", b"GET, HEAD"))
        elif path == PATH:
            await _send(send, 308, (b"location", (PATH + "/").encode()))
        else:
            await self._serve(path[len(PATH) :].lstrip("/"), scope, receive, send)

    async def _serve(self, name: str, scope: Any, receive: Any, send: Any) -> None:
        from starlette.exceptions import HTTPException

        files, name = self._find(name)
        try:
            await files({**scope, "path": f"/{name}", "root_path": ""}, receive, send)
        except HTTPException as error:  # it has gone, or may not be read
            await _send(send, error.status_code)

    def _find(self, name: str) -> tuple[Any, str]:
        """Whose file it is; the first page where there is none, or where its name leads out of the folder."""
        for folder, files in self._folders if "\0" not in name else ():
            found = os.path.realpath(os.path.join(folder, name))
            if found.startswith(folder + os.sep) and os.path.isfile(found):
                return files, name
        return self._folders[0][1], "index.html"


def _adapt(folder: str, own: str, root: str) -> None:
    """Write anew what takes the viewer to be at the root of the host."""
    with open(os.path.join(folder, "index.html"), encoding="utf-8") as file:
        page = file.read()
    page = page.replace("PUBLIC_URL = '/'", f"PUBLIC_URL = '{PATH}/'").replace('="/', f'="{PATH}/')
    _write(own, "index.html", page.encode())
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith(".js") and os.path.getsize(path) <= _LARGEST_SCRIPT:
            with open(path, "rb") as script:
                content = script.read()
            if _OWN_ROOT in content:
                _write(own, name, content.replace(_OWN_ROOT, _OWN_ROOT.replace(b'"/"', f'"{PATH}/"'.encode())))
    _write(own, _CONFIGURATION, _configuration(root))


def _write(own: str, name: str, content: bytes) -> None:
    with open(os.path.join(own, name), "wb") as file:
        file.write(content)


def _configuration(root: str) -> bytes:
    """The viewer's configuration: this service as its only source. Its URLs are of the host the page came from."""
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "dicomweb",
        "configuration": {
            "friendlyName": "dcmkit",
            "name": "dcmkit",
            "wadoUriRoot": root,
            "qidoRoot": root,
            "wadoRoot": root,
            "qidoSupportsIncludeField": True,
            "supportsReject": False,
            "dicomUploadEnabled": True,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "omitQuotationForMultipartRequest": True,
            "singlepart": "bulkdata,video,pdf",
            "bulkDataURI": {"enabled": True},
        },
    }
    settings = {
        "name": "dcmkit",
        "routerBasename": PATH,
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "groupEnabledModesFirst": True,
        "defaultDataSourceName": "dicomweb",
        "dataSources": [source],
    }
    # absolute URLs: some of the viewer's workers have no page of their own to resolve a path against
    absolute = """for (const name of ["wadoUriRoot", "qidoRoot", "wadoRoot"]) {
  const source = window.config.dataSources[0].configuration;
  source[name] = window.location.origin + source[name];
}
"""
    return f"window.config = {json.dumps(settings, indent=1)};\n{absolute}".encode()


async def _send(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    """An answer without a body."""
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
