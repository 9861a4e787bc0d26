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
    (folder / "index.html").write_text("""<script>PUBLIC_URL = '/'</script><script src="/app.js">""")
    (folder / "app.js").write_text('__webpack_require__.p = "/"; other = "/";')
    (folder / "plain.js").write_text('other = "/";')
    (folder / "assets" / "app.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    app = WithViewer(service, str(folder))
    assert call(app, "GET", "/dicom-web/studies").body == b"service"
    assert call(app, "GET", "/ohif").headers["location"] == "/ohif/"
    page = call(app, "GET", "/ohif/").body
    assert page == b"""<script>PUBLIC_URL = '/ohif/'</script><script src="/ohif/app.js">"""
    assert call(app, "GET", "/ohif/viewer?StudyInstanceUIDs=1.2").body == page
    assert call(app, "GET", "/ohif/app.js").body == b'__webpack_require__.p = "/ohif/"; other = "/";'
    assert call(app, "GET", "/ohif/plain.js").body == b'other = "/";'
    assert b'"qidoRoot": "/dicom-web"' in call(app, "GET", "/ohif/app-config.js").body
    assert (folder / "app.js").read_text() == '__webpack_require__.p = "/"; other = "/";'
    wasm = call(app, "GET", "/ohif/assets/app.wasm")
    assert (wasm.body, wasm.headers["content-type"]) == (b"\0asm", "application/wasm")
    for path in ("/ohif/../secret", "/ohif/%2e%2e/secret", "/ohif//etc/passwd", "/ohif/link"):
        assert b"secret" not in call(app, "GET", path).body
        assert b"root:" not in call(app, "GET", path).body
    app.close()


def test_a_folder_without_a_viewer(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        WithViewer(service, str(tmp_path))
