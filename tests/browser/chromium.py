"""Headless Chromium, driven as the W3C's WebDriver protocol says: JSON over HTTP to Debian's chromedriver."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.rays import MARKER, Host, free_port, kill

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The protocol's key of a reference to an element."""
_SHOWING = """
return Array.from(document.querySelectorAll("body *")).filter(
    e => e.innerText?.trim() === arguments[0] && e.checkVisibility()
).pop()"""
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


class Chromium:
    """One window of a browser of its own, with a profile of its own, below `folder`.

    Args:
        folder: For its profile and its log.
        size: Of the window, in pixels.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 1000)) -> None:
        assert CHROMIUM is not None
        assert DRIVER is not None
        self.log = folder / "chromedriver.log"
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._host = Host()  # its name marks the browser's processes, whoever started them
        with self.log.open("wb") as log:
            self._host.process = subprocess.Popen(
                [DRIVER, f"--port={port}"],
                stdout=log,
                stderr=log,
                env=os.environ | {"HOME": str(folder), MARKER: self._host.name},
            )
        flags = [
            "--headless=new",
            "--no-sandbox",  # root may not use it
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={folder / 'profile'}",
        ]
        options = {"binary": CHROMIUM, "args": flags}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._wait_for_driver()
            made = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        except BaseException:
            kill(self._host)
            raise
        self._url += f"/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        """Goes to a page and waits until it is loaded."""
        self._send("POST", "/frame", {"id": None})
        self._send("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function with this body returns in the page."""
        return self._send("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self) -> str:
        """What a person can read on the page."""
        return str(self.run("return document.body.innerText")).replace("\xa0", " ")

    def wait(self, script: str, *arguments: Any, patience_s: float = 120.0) -> Any:
        """Waits until a function with this body returns something true; returns that."""
        end = time.monotonic() + patience_s
        while not (found := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise AssertionError(f"never on the page: {script} {arguments}\n{self.text()[-3000:]}")
            time.sleep(0.2)
        return found

    def wait_for(self, *texts: str) -> str:
        """Waits until the page shows all of these; returns its text."""
        shown = "const shown = document.body.innerText.replaceAll('\\xa0', ' ');"
        self.wait(f"{shown} return Array.from(arguments).every(text => shown.includes(text))", *texts)
        return self.text()

    def click(self, script: str, *arguments: Any) -> None:
        """Clicks with the mouse what a function with this body returns, once it is there."""
        element = self.wait(script, *arguments)
        self._send("POST", f"/element/{element[ELEMENT]}/click", {})

    def click_text(self, text: str) -> None:
        """Clicks the innermost element that shows just this text, as soon as there is one."""
        self.click(_SHOWING, text)

    def press(self, script: str, keys: str, *arguments: Any) -> None:
        """Types keys at what a function with this body returns; special ones as WebDriver codes them."""
        element = self.wait(script, *arguments)
        self._send("POST", f"/element/{element[ELEMENT]}/value", {"text": keys})

    def enter(self, script: str) -> None:
        """Looks into the frame that a function with this body returns from now on, until a page is opened."""
        self._send("POST", "/frame", {"id": self.wait(script)})

    def keep_alerts(self) -> None:
        """From the next page on, no dialog opens: what one would have said is kept for `alerts`."""
        keep = "window.alert = text => { (window.top.alerts ??= []).push(String(text)) }"
        command = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": keep}}
        self._send("POST", "/goog/cdp/execute", command)

    def alerts(self) -> list[str]:
        """What the dialogs of the page and of its frames would have said since it was opened."""
        return list(self.run("return window.alerts ?? []"))

    def complaints(self) -> list[str]:
        """Errors of the page's scripts and requests since the last call."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def picture(self, path: Path) -> None:
        """Keeps what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self._send("GET", "/screenshot")))

    def close(self) -> None:
        """Ends the browser and its driver."""
        try:
            self._send("DELETE", "")
        finally:
            kill(self._host)

    def _wait_for_driver(self) -> None:
        for _ in range(300):
            try:
                if self._send("GET", "/status")["ready"]:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"chromedriver doesn't start: {self.log.read_text()[-2000:]}")

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        request.method = method
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
