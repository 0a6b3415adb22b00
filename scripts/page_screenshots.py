"""Take the pictures of the search page for the documents, from a real server.

It serves the index, speaks a recording into the page through Chromium's fake microphone, waits for
the answer, and writes search-{en,zh}-{light,dark}.png, search-phone.png, search-start.png and
search-map.png.

    isogloss search build corpus/manifest.jsonl --encoder own:runs/a --split test --out index
    python scripts/page_screenshots.py index --say corpus/audio/test/yue/test-00005-yue.wav
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 300_000
DESK = {"width": 1280, "height": 1000}
PHONE = {"width": 360, "height": 780}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, serve, visit, write; 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("index", type=Path, help="folder of an index")
    parser.add_argument("--say", type=Path, required=True, help="16-bit WAV that is spoken")
    parser.add_argument("--encoder", help="default the one that the index was built with")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="default on PATH")
    chosen = parser.parse_args(arguments)
    if chosen.chromium is None:
        parser.error("no chromium on PATH; give its path with --chromium")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _server(chosen.index, chosen.encoder) as address:
        spoken = _with_room(chosen.say, Path(folder) / "said.wav")
        for path in _pictures(address, chosen.chromium, spoken, chosen.out):
            sys.stdout.write(f"{path}  {path.stat().st_size // 1000} kB\n")
    return 0


@contextlib.contextmanager
def _server(index: Path, encoder: str | None) -> Iterator[str]:
    """The address of `isogloss search serve`, stopped afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "isogloss", "search", "serve", str(index)]
    command += ["--port", str(port), *(["--encoder", encoder] if encoder else [])]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/readyz"):
            return
        time.sleep(0.2)
    raise RuntimeError("the server ended before it was ready; it says why above")


def _with_room(source: Path, target: Path) -> Path:
    """The recording with quiet around it: the microphone opens before the page listens."""
    with wave.open(str(source)) as handle:
        shape, frames = handle.getparams(), handle.readframes(handle.getnframes())
    quiet = bytes(shape.sampwidth * shape.nchannels * shape.framerate)
    with wave.open(str(target), "wb") as handle:
        handle.setparams(shape)
        handle.writeframes(quiet[: len(quiet) // 4 * 2] + frames + quiet * 6)
    return target


def _pictures(address: str, chromium: str, spoken: Path, out: Path) -> Iterator[Path]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                "--mute-audio",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={spoken}%noloop",
            ],
        )
        with _visit(browser, address, "en-GB", "light", DESK) as page:
            yield _save(page.screenshot(), out / "search-start.png")
        seconds = _seconds(spoken) - 6
        for locale in ("en-GB", "zh-CN"):
            for theme in ("light", "dark"):
                with _visit(browser, address, locale, theme, DESK) as page:
                    _ask(page, seconds)
                    name = f"search-{locale[:2]}-{theme}.png"
                    yield _save(page.screenshot(), out / name)
        with _visit(browser, address, "en-GB", "light", DESK) as page:
            _ask(page, seconds)
            page.locator(".hit").nth(1).click(position={"x": 200, "y": 12})
            page.wait_for_selector(".hear input[value=both]:enabled")
            _point(page)
            yield _save(page.locator(".similarity").screenshot(), out / "search-map.png")
        with _visit(browser, address, "zh-CN", "light", PHONE) as page:
            _ask(page, seconds)
            page.locator(".hit").first.click(position={"x": 150, "y": 15})
            page.wait_for_selector(".hear input[value=both]:enabled")
            page.evaluate(
                "window.scrollTo(0, document.querySelector('#results-title').offsetTop - 12)"
            )
            yield _save(page.screenshot(), out / "search-phone.png")
        browser.close()


@contextlib.contextmanager
def _visit(browser: Browser, address: str, locale: str, theme: Any, size: Any) -> Iterator[Page]:
    context = browser.new_context(
        locale=locale, color_scheme=theme, viewport=size, device_scale_factor=1
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#filters .chip")
    page.wait_for_timeout(300)
    yield page
    context.close()


def _ask(page: Page, seconds: float) -> None:
    """Speak, stop, and wait for the results and for the map beside them with its sounds."""
    page.click("#record")
    page.wait_for_selector("#ask[data-state=live]")
    page.wait_for_timeout(1000 * seconds + 300)
    page.click("#record")
    page.wait_for_selector("#hits .hit")
    if page.is_visible("#side"):
        page.wait_for_selector(".hear input[value=both]:enabled")
    page.mouse.move(1, 1)
    page.wait_for_timeout(500)


def _point(page: Page) -> None:
    """Put the pointer on the map, so that the picture shows what pointing tells."""
    page.locator(".plot").scroll_into_view_if_needed()
    box = page.locator(".plot canvas").bounding_box()
    if box:
        page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.4)
    page.wait_for_timeout(200)


def _seconds(path: Path) -> float:
    with wave.open(str(path)) as handle:
        return float(handle.getnframes() / handle.getframerate())


def _save(picture: bytes, path: Path) -> Path:
    """Write the picture as small as it gets without a loss."""
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise RuntimeError(f"{path} has {path.stat().st_size} bytes, at most {MOST_BYTES} wanted")
    return path


if __name__ == "__main__":
    sys.exit(main())
