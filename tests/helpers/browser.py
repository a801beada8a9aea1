"""A headless Chromium for tests, driven over the W3C WebDriver protocol of its own driver; no package needed."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = (
    None if CHROMIUM and DRIVER else "no Chromium with chromedriver here: apt-get install chromium chromium-driver"
)
# The machine of a test has neither a sandbox for root nor a large /dev/shm, and nothing is to be fetched.
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Right": "\ue014", "Left": "\ue012", "Escape": "\ue00c", "Enter": "\ue007", "Tab": "\ue004"}


class Browser:
    """One window of a browser; use it as a context manager."""

    def __init__(self, *, width=1400, height=900):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [str(DRIVER), f"--port={port}", "--log-level=SEVERE"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._wait_for_driver()
            options = {"binary": CHROMIUM, "args": [*ARGUMENTS, f"--window-size={width},{height}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.base += f"/session/{answer['sessionId']}"
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_for_driver(self):
        for _ in range(200):
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("chromedriver did not start within 20 s")

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with _OPENER.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait()

    def open(self, path, fragment=""):
        """A file of this machine; leaves the page first, so that the same file is loaded anew."""
        self._call("POST", "/url", {"url": "about:blank"})
        self._call("POST", "/url", {"url": Path(path).resolve().as_uri() + fragment})

    def resize(self, width, height=900):
        """The size of the page; unlike a window, it may be as narrow as a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def run(self, script, *arguments):
        """Value that a script returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, *, seconds=20):
        """Until a script returns something true; that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.run(script):
                return found
            time.sleep(0.02)
        raise AssertionError(f"not so within {seconds} s: {script}")

    def press(self, *keys):
        """Keys, one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, selector):
        """The first element that a CSS selector finds."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{found[_ELEMENT]}/click", {})

    def errors(self):
        """Errors and warnings on the console since the last call."""
        return [line["message"] for line in self._call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        """The window as PNG."""
        Path(path).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
