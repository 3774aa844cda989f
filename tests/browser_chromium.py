"""Debian's Chromium for tests of pages: one browser, what it finds wrong with a page, and where screenshots go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

SCREENSHOTS = Path(__file__).resolve().parent.parent / "build" / "screenshots"
README_PICTURES = Path(__file__).parent.parent / "device" / "kiosk" / "screenshots"
SHOWN = ("ready-800x480-en", "challenge-800x480-en", "admitted-800x480-en", "attack-800x480-en",
         "admitted-480x800-zh", "enrol-pose-480x800-zh", "setup-camera-480x800-en", "own-open-480x800-en")
"""Those that the README shows."""
SIZES = ((480, 800), (800, 480), (1280, 800))
LEAST_TOUCH_PX = 44
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--mute-audio")

OVERFLOWING = """() => {
  const found = [];
  const name = (element) => `${element.tagName.toLowerCase()}#${element.id || element.closest("[id]")?.id}`;
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  for (const element of document.querySelectorAll("body *")) {
    if (!hasText(element) || !element.checkVisibility() || element.closest("option")) continue;
    const range = document.createRange();
    range.selectNodeContents(element);
    const rects = [...range.getClientRects()].filter((rect) => rect.width > 0);
    const say = (why) => found.push(`${name(element)} ${why}: ${element.textContent.trim().slice(0, 60)}`);
    if (rects.some((rect) => rect.left < -1 || rect.right > innerWidth + 1)) say("leaves the screen");
    // What is fixed to the screen is cut by nothing that it lies in.
    const outer = (one) => getComputedStyle(one).position === "fixed" ? null : one.parentElement;
    for (let around = element; around && around !== document.body; around = outer(around)) {
      const style = getComputedStyle(around);
      if (style.overflowX === "visible" && style.overflowY === "visible") continue;
      const box = around.getBoundingClientRect();
      const scrolls = style.overflowY === "auto";
      const isCut = rects.some((rect) => rect.left < box.left - 1 || rect.right > box.right + 1
        || (!scrolls && (rect.top < box.top - 2 || rect.bottom > box.bottom + 2)));
      if (isCut) say(`is cut by ${name(around)}`);
    }
    if (getComputedStyle(document.body).overflowY === "hidden" && !element.closest("dialog")
        && rects.some((rect) => rect.top < -1 || rect.bottom > innerHeight + 1)) say("leaves the screen below");
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
  return found;
}"""

TOO_SMALL = """(least) => [...document.querySelectorAll("button, a, select, input")].filter((element) => {
  if (!element.checkVisibility() || element.closest("label.tick")) return false;
  const box = element.getBoundingClientRect();
  return box.height < least - 0.5 || box.width < least - 0.5;
}).map((one) => `${one.id || one.textContent.trim()} ${JSON.stringify(one.getBoundingClientRect())}`)"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; the test is skipped with a clear word where it is not installed."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium fonts-noto-cjk fonts-noto-color-emoji")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def watched(browser: Browser, complaints: list[str]) -> Page:
    """A page whose script errors and whose console's errors are collected."""
    page = browser.new_context(viewport={"width": SIZES[0][0], "height": SIZES[0][1]}).new_page()
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    return page


def resize(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


def speak(page: Page, language: str) -> None:
    """Have the page speak that language."""
    wanted = {"en": "en", "zh": "zh-Hans"}[language]
    if page.locator("html").get_attribute("lang") != wanted:
        page.locator(".language").first.click()


def overflowing(page: Page) -> list[str]:
    """Each text that does not fit, with why."""
    found: list[str] = page.evaluate(OVERFLOWING)
    return found


def too_small(page: Page) -> list[str]:
    """Whatever is smaller than a finger."""
    found: list[str] = page.evaluate(TOO_SMALL, LEAST_TOUCH_PX)
    return found


def faults(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse."""
    response: dict[str, Any] = Axe().run(page).response
    return [f"{one['id']}: {node['html'][:160]}" for one in response["violations"]
            if one["impact"] in ("serious", "critical") for node in one["nodes"]]


def shoot(page: Page, name: str) -> None:
    """Keep what the page shows as build/screenshots/NAME.png; for the README too, where those are to be made anew."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")
    if name in SHOWN and os.environ.get("DOOR_WRITE_DOCS"):
        page.screenshot(path=README_PICTURES / f"{name}.jpg", type="jpeg", quality=82, animations="disabled")
