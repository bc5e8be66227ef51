"""A headless Chromium driven through its pipe: open a page, run a script in it, take pictures, list what went wrong.

Nothing but the browser is needed: `--remote-debugging-pipe` speaks the DevTools protocol as JSON ended by zero bytes,
in on descriptor 3 and out on descriptor 4.
"""

import base64
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-pipe",
)  # fmt: skip
OWN = ("file:", "data:", "blob:", "about:")  # what a page may load without asking anybody


def find_browser() -> str | None:
    """Path of a Chromium, None where there is none; $CHROMIUM names another."""
    return next(
        (path for name in (os.environ.get("CHROMIUM", ""), *NAMES) if name and (path := shutil.which(name))), None
    )


@dataclass
class Page:
    """An open page and what it has done so far.

    Attributes:
        browser: that shows it.
        session: of the protocol.
        errors: console errors, uncaught exceptions and refused resources, in words.
        requests: addresses asked for that are not the page itself.
    """

    browser: "Browser"
    session: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol to this page."""
        return self.browser.call(method, self.session, **parameters)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for.

        Raises:
            RuntimeError: if it throws.
        """
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script[:80]}: {json.dumps(found['exceptionDetails'])[:500]}")
        return found["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of so many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self, path: Path, clip: dict[str, float] | None = None) -> None:
        """A PNG of the whole page, or of a rectangle x, y, width, height of it."""
        if clip is None:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"]}
        found = self.call("Page.captureScreenshot", clip={**clip, "scale": 1}, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def box(self, selector: str) -> dict[str, float]:
        """Where an element is on the page."""
        return self.run(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}; })()"
        )

    def wait(self, script: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true.

        Raises:
            TimeoutError: if it stays false.
        """
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"{script[:120]} stayed false for {seconds:g} s")
            time.sleep(0.1)


class Browser:
    """A running Chromium; use it in a `with`.

    Args:
        path: of the program.
        timeout: seconds for one command.
    """

    def __init__(self, path: str, timeout: float = 120.0) -> None:
        self.timeout = timeout
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        # The shell puts the two pipes on the descriptors that the browser expects.
        line = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, path, *flags],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self._pages = b"", 0, {}
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._in, selectors.EVENT_READ)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._ready.close()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def open(self, file: Path, width: int = 1280, height: int = 900) -> Page:
        """Load a file and wait until it is loaded; scripts may still be drawing."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        address = file.resolve().as_uri()
        page.call("Page.navigate", url=address)
        page.wait("document.readyState === 'complete'")
        page.requests = [url for url in page.requests if url != address]
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command; events that come meanwhile are noted on their pages.

        Raises:
            RuntimeError: if the browser refuses it.
            TimeoutError: if no answer comes.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self._out, text) :]
        end = time.monotonic() + self.timeout
        while True:
            answer = self._next(end, method)
            if answer.get("id") != self._number:
                self._note(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error'].get('message')}")
            else:
                return answer["result"]

    def _next(self, end: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not self._ready.select(max(0.0, end - time.monotonic())):
                raise TimeoutError(f"{method}: no answer within {self.timeout:g} s")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError(f"{method}: the browser has ended")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event: dict[str, Any]) -> None:
        page = self._pages.get(event.get("sessionId"))
        if page is None:
            return
        name, params = event.get("method"), event.get("params", {})
        if name == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            page.errors.append(
                f"console: {' '.join(str(a.get('value', a.get('description'))) for a in params['args'])}"
            )
        elif name == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            page.errors.append(f"exception: {details.get('exception', {}).get('description', details.get('text'))}")
        elif name == "Log.entryAdded" and params["entry"]["level"] == "error":
            page.errors.append(f"log: {params['entry']['text']} {params['entry'].get('url', '')}")
        elif name == "Network.requestWillBeSent":
            address = params["request"]["url"]
            if not address.startswith(OWN) or address.startswith("file:"):
                page.requests.append(address)
