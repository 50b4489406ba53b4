"""Drives a headless Chromium over its debugging pipe, with Python's standard library alone."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60


def find():
    """Path of a Chromium: what $CHROMIUM names, or the first that is installed; none if there is none."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A browser with a profile of its own, which ends with the block."""

    def __init__(self, path):
        self.path = path
        self.events = []
        self.number = 0
        self.buffer = b""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="rewind-chromium-")
        read, its_write = os.pipe()
        its_read, write = os.pipe()
        command = [
            "sh", "-c", 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"', "sh", str(its_read), str(its_write), self.path,
            "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-default-apps", "--disable-extensions", "--mute-audio", "--hide-scrollbars",
            f"--user-data-dir={self.profile}", "about:blank",
        ]
        self.process = subprocess.Popen(
            command, pass_fds=(its_read, its_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )
        os.close(its_read)
        os.close(its_write)
        self.read, self.write = read, write
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
        except (OSError, RuntimeError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, session=None, **parameters):
        """The result of a command; events that come meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write, data):]
        until = time.monotonic() + PATIENCE
        while True:
            for message in self.messages(until):
                if message.get("id") == self.number:
                    if "error" in message:
                        raise RuntimeError(f"{method}: {message['error']['message']}")
                    return message["result"]
                self.events.append(message)
            if time.monotonic() > until:
                raise RuntimeError(f"{method}: no answer")

    def messages(self, until):
        """What has come, waiting for something until then."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], max(0, until - time.monotonic()))
            piece = os.read(self.read, 1 << 20) if ready else b""
            if ready and not piece:
                raise RuntimeError("the browser ended")
            if not piece:
                return []
            self.buffer += piece
        *whole, self.buffer = self.buffer.split(b"\0")
        return [json.loads(it) for it in whole]

    def page(self, width=1500, height=900):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, width, height)


class Page:
    """A tab."""

    def __init__(self, browser, session, width, height):
        self.browser, self.session = browser, session
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def open(self, url):
        self.call("Page.navigate", url=url)

    def tell(self, expression):
        """The value of an expression of JavaScript, of which a promise is awaited."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(f"{expression}: {details.get('exception', details).get('description', details)}")
        return result["result"].get("value")

    def wait(self, expression, seconds=PATIENCE):
        """Waits until an expression is true, and returns what it is then."""
        until = time.monotonic() + seconds
        while True:
            value = self.tell(expression)
            if value:
                return value
            if time.monotonic() > until:
                raise AssertionError(f"not within {seconds} s: {expression}; the page: {self.text()[:2000]}")
            time.sleep(0.05)

    def expect(self, expression, value, seconds=PATIENCE):
        """Waits until an expression has a value: pages draw when the browser comes to it."""
        until = time.monotonic() + seconds
        while (got := self.tell(expression)) != value:
            if time.monotonic() > until:
                raise AssertionError(f"not within {seconds} s: {expression} is {got!r}, expected {value!r}")
            time.sleep(0.05)

    def text(self):
        return self.tell("document.body.innerText")

    def press(self, key, text=None):
        """Presses a key by its name."""
        text = text or (key if len(key) == 1 else {"Enter": "\r"}.get(key))
        more = {"text": text} if text else {}
        code = {"Enter": 13, "Escape": 27, " ": 32}.get(key, 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def move(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def requests(self):
        """Addresses of all that was asked for."""
        own = [it for it in self.browser.events if it.get("sessionId") == self.session]
        return [it["params"]["request"]["url"] for it in own if it["method"] == "Network.requestWillBeSent"]

    def complaints(self):
        """What the browser complained of: errors of scripts, refusals of the content security policy."""
        said = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            method, params = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                said.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                said.append(params["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                said.append(str(params["args"]))
        return said
