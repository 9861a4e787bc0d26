"""A headless Chromium, told what to do over its DevTools protocol; it reaches nothing but the loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--disable-extensions", "--disable-default-apps", "--mute-audio",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
WIDTH, HEIGHT = 1280, 900


def chromium_path() -> str | None:
    """Where it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One page."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result."""
        message = self._command(method, **parameters)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == self._number:
                return message
            self.events.append(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 60.0) -> Any:
        """The value of an expression, once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self._attempt(expression)):
            if time.monotonic() > deadline:
                text = self.evaluate("document.body.innerText")
                raise AssertionError(f"{expression} did not come true; the page says: {text[:2000]!r}")
            self._attempt("new Promise(done => setTimeout(done, 100))")
        return value

    def _attempt(self, expression: str) -> Any:
        """The value; None where the page is not as far, or is just being left."""
        found = self._command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "error" in found or "exceptionDetails" in found["result"]:
            return None
        return found["result"]["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """`mousePressed`, `mouseMoved`, `mouseReleased` or `mouseWheel`."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, x: float, y: float, by_x: float, by_y: float) -> None:
        """Drag with the left button, in steps."""
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        for step in range(1, 11):
            self.mouse("mouseMoved", x + by_x * step / 10, y + by_y * step / 10, button="left", buttons=1)
        self.mouse("mouseReleased", x + by_x, y + by_y, button="left", buttons=0, clickCount=1)

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def requests(self) -> list[str]:
        """The URLs of everything that was asked for so far."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]


@contextlib.contextmanager
def page(profile: Path) -> Iterator[Page]:
    """A page of a new browser, which ends with the block."""
    from websockets.sync.client import connect

    program = chromium_path()
    assert program is not None
    browser = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port = _port(profile / "DevToolsActivePort", browser)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            targets = json.load(answer)
        target = next(one for one in targets if one["type"] == "page")
        with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as connection:
            found = Page(connection)
            for domain in ("Page", "Network", "Runtime", "Log"):
                found.call(f"{domain}.enable")
            yield found
    finally:
        browser.terminate()
        try:
            browser.wait(15)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()


def _port(path: Path, browser: subprocess.Popen[bytes]) -> int:
    """The port of its DevTools protocol."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and browser.poll() is None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(path.read_text().splitlines()[0])
        with contextlib.suppress(subprocess.TimeoutExpired):
            browser.wait(0.05)
    raise AssertionError("Chromium did not start")
