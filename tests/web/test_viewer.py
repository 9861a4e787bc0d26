"""A viewer's files beside the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.viewer import WithViewer
from tests.web.asgi import call


async def service(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"service"})


def test_files_of_the_viewer_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<p>viewer</p>")
    (folder / "assets" / "app.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    app = WithViewer(service, str(folder))
    assert call(app, "GET", "/dicom-web/studies").body == b"service"
    assert call(app, "GET", "/ohif").headers["location"] == "/ohif/"
    assert call(app, "GET", "/ohif/").body == b"<p>viewer</p>"
    assert call(app, "GET", "/ohif/viewer?StudyInstanceUIDs=1.2").body == b"<p>viewer</p>"
    wasm = call(app, "GET", "/ohif/assets/app.wasm")
    assert (wasm.body, wasm.headers["content-type"]) == (b"\0asm", "application/wasm")
    for path in ("/ohif/../secret", "/ohif/%2e%2e/secret", "/ohif//etc/passwd", "/ohif/link"):
        assert b"secret" not in call(app, "GET", path).body
        assert b"root:" not in call(app, "GET", path).body


def test_a_folder_without_a_viewer(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        WithViewer(service, str(tmp_path))
