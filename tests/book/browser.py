"""A page in headless Chromium, driven through two pipes: `bookkit.look.ask` can press no keys."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bookkit.look import find_browser

KEYS = {"Tab": ("Tab", 9, ""), " ": ("Space", 32, " "), "Enter": ("Enter", 13, "\r")}


class Tab:
    """A tab of the browser, and what went wrong on its page (`errors`)."""

    def __init__(self, reading: int, writing: int):
        self._reading, self._writing = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        self._session: dict[str, str] = {}
        self._count, self._rest = 0, b""
        self.errors: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        """Close the browser."""
        self._session = {}
        self.send("Browser.close")
        self._reading.close()
        self._writing.close()

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._reading.fileno(), 65536)
            if not piece:
                raise RuntimeError("the browser has gone")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(message)
        kind, values = found.get("method", ""), found.get("params", {})
        level = values.get("type") or values.get("entry", {}).get("level")
        if kind == "Runtime.exceptionThrown" or (
            kind in {"Runtime.consoleAPICalled", "Log.entryAdded"} and level == "error"
        ):
            self.errors.append(json.dumps(values))
        return found

    def send(self, method: str, **values: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": values} | self._session
        self._writing.write(json.dumps(message).encode() + b"\0")
        self._writing.flush()
        while (found := self._receive()).get("id") != self._count:
            pass
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']['message']}")
        return found["result"]

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.send("Page.navigate", url=page.resolve().as_uri())
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def value(self, script: str) -> Any:
        """Value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["text"] + f" in {script}")
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key of `KEYS`."""
        code, number, text = KEYS[key]
        own = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        kind = "keyDown" if text else "rawKeyDown"
        self.send("Input.dispatchKeyEvent", type=kind, text=text, **own)
        self.send("Input.dispatchKeyEvent", type="keyUp", **own)

    def type(self, text: str) -> None:
        """Write text where the focus is."""
        self.send("Input.insertText", text=text)


@contextlib.contextmanager
def open_tab() -> Iterator[Tab]:
    """A tab of a browser of its own."""
    (to_read, to_answer), (commands, to_write) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = "--headless --no-sandbox --disable-gpu --remote-debugging-pipe"
        # bash, because other shells know no file descriptors of two digits
        script = f'exec "$0" {options} --user-data-dir="$1" 3<&{commands} 4>&{to_answer}'
        process = subprocess.Popen(
            ["bash", "-c", script, find_browser(), profile],
            pass_fds=(commands, to_answer),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(to_answer)
        try:
            tab = Tab(to_read, to_write)
            yield tab
            tab.close()
        finally:
            process.kill()
            process.wait()
