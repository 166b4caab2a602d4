"""The page in a real browser: from a sample to a compared and downloaded picture, with keyboard, errors and keys."""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, FilePayload, Page, expect, sync_playwright
from support.bundles import flip_bundle, toy_bundle
from support.faces import add_detector
from support.services import Stuck, png, serving, settings

from models.bundle.store import Store
from service.problems import KINDS
from service.settings import ServiceSettings

Open = Callable[..., Page]

# Nothing but the page: no sandbox, since tests may run as root, and no talk with the browser's maker.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MINUS = "\N{MINUS SIGN}"
PICTURE: FilePayload = {"name": "me.png", "mimeType": "image/png", "buffer": png({"black", "smiling"}, size=64)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the system's where there is one, else Playwright's own.

    Playwright keeps an event loop running in this thread until it is closed, so it must not outlive this module.
    """
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        except Error as error:
            if "Executable doesn't exist" not in error.message:
                raise
            pytest.skip("no Chromium: install the system's, or run `playwright install chromium`")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The toy bundle, which has a sample, and the flip bundle."""
    ranked = [tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")]
    toy_bundle(ranked[0])
    add_detector(ranked[0])
    flip_bundle(ranked[1])
    return Store(ranked)


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    """A service that all tests share."""
    with serving(store, settings()) as address:
        yield address


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens an address in a fresh browser; the test fails if the page logs an error or asks another host."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(url: str, *, width: int = 1280, height: int = 900) -> Page:
            context = stack.enter_context(browser.new_context(viewport={"width": width, "height": height}))
            context.set_default_timeout(20_000)
            page = context.new_page()
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: complaints.extend(_foreign(request.url, url)))
            page.goto(url)
            return page

        yield open_page
    # The browser itself writes a line for each answer that is an error; those are the service's, and meant.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest.fixture
def page(visit: Open, address: str) -> Page:
    """The upload page, its samples loaded."""
    page = visit(address)
    expect(page.get_by_role("button", name="Sample 1")).to_be_visible()
    return page


def test_sample_and_a_toggle_give_a_new_picture(page: Page) -> None:
    """One press translates a sample, and the page shows the facts and the download."""
    page.get_by_role("button", name="Sample 1").click()
    page.get_by_role("button", name="Brown").click()
    expect(page.locator("#compare")).to_have_attribute("data-view", "both")
    assert shown(page, "#after") != shown(page, "#before")
    expect(page.get_by_text("toy@1")).to_be_visible()
    expect(page.locator(".label", has_text="Brown")).to_be_visible()
    expect(page.locator(".timing")).to_contain_text(re.compile(r"decode [\d.]+ · queue [\d.]+ · infer"))
    download = page.get_by_role("link", name="Download")
    expect(download).to_have_attribute("download", "blond-brown.png")
    with page.expect_download() as saved:
        download.click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")


def test_a_toggle_without_a_picture_keeps_the_place_to_drop_one(page: Page) -> None:
    """A user who chooses a domain first is asked for a picture and sees no broken one; a sample is then translated."""
    page.get_by_role("button", name="Brown").click()
    expect(page.get_by_text("Now choose a picture.")).to_be_visible()
    page.wait_for_timeout(500)  # the pause before the page asks, after which it showed a broken picture
    expect(page.locator("#compare")).to_be_hidden()
    expect(page.locator("#drop")).to_be_visible()
    page.get_by_role("button", name="Sample 1").click()
    expect(page.locator("#compare")).to_have_attribute("data-view", "both")


def test_uploaded_picture_is_translated_at_once(page: Page) -> None:
    """With a domain chosen first, an uploaded picture needs no further press."""
    page.get_by_role("button", name="Blond").click()
    page.locator("#file").set_input_files(PICTURE)
    expect(page.locator("#compare")).to_have_attribute("data-view", "both")
    expect(page.get_by_role("link", name="Download")).to_have_attribute("download", "me-blond.png")


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_picture_can_be_pasted_or_dropped(page: Page, event: str) -> None:
    """A pasted or dropped picture is shown like an uploaded one."""
    page.evaluate(
        """([event, picture]) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
            data.items.add(new File([bytes], "given.png", { type: "image/png" }));
            const made = event === "paste"
                ? new ClipboardEvent(event, { clipboardData: data })
                : new DragEvent(event, { dataTransfer: data });
            document.dispatchEvent(made);
        }""",
        [event, base64.b64encode(PICTURE["buffer"]).decode()],
    )
    expect(page.locator("#before")).to_be_visible()
    expect(page.locator("#drop")).to_be_hidden()


def test_switches_exclude_each_other_and_have_three_states(page: Page) -> None:
    """At most one domain of a group is on; an attribute is on, off or not named; the address keeps all of it."""
    pressed = page.locator("#domains [aria-pressed=true]")
    page.get_by_role("button", name="Black").click()
    page.get_by_role("button", name="Grey").click()
    expect(pressed).to_have_count(1)
    page.get_by_role("button", name="Smiling", exact=True).click()
    page.get_by_role("button", name="Without smiling").click()
    expect(pressed).to_have_text(["Grey", MINUS])
    expect(page).to_have_url(re.compile("#model=toy&domains=grey,-smiling$"))
    page.reload()
    expect(pressed).to_have_text(["Grey", MINUS])
    page.get_by_role("button", name="Grey").click()
    page.get_by_role("button", name="Without smiling").click()
    expect(pressed).to_have_count(0)


def test_only_the_latest_wish_is_shown(page: Page) -> None:
    """After several quick presses, the picture and its facts are those of the last one."""
    page.get_by_role("button", name="Sample 1").click()
    for name in ("Black", "Blond", "Brown", "Grey"):
        page.get_by_role("button", name=name).click()
    expect(page.locator(".label").first).to_have_text("Grey")
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    expect(page.locator(".label", has_text="Brown")).to_have_count(0)


def test_strength_is_sent(page: Page) -> None:
    """The slider, moved by keys, scales what is applied."""
    page.get_by_role("button", name="Sample 1").click()
    page.get_by_role("button", name="Glasses", exact=True).click()
    slider = page.get_by_label("Strength")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    expect(page.locator("#strength-value")).to_have_text("0.50")
    expect(page.locator(".label", has_text="Glasses 0.5")).to_be_visible()


def test_divider_moves_by_keys(page: Page) -> None:
    """Keys move the divider, and its position is readable text."""
    page.get_by_role("button", name="Sample 1").click()
    page.get_by_role("button", name="Brown").click()
    divider = page.locator("#divider")
    expect(divider).to_be_visible()
    divider.focus()
    divider.press("Home")
    expect(divider).to_have_attribute("aria-valuetext", "0 % before")
    divider.press("End")
    expect(divider).to_have_attribute("aria-valuetext", "100 % before")


def test_contact_sheet_stands_alone(page: Page) -> None:
    """The contact sheet is shown alone; a switch goes back to the comparison."""
    page.get_by_role("button", name="Sample 1").click()
    page.get_by_role("button", name="Contact sheet").click()
    expect(page.locator("#compare")).to_have_attribute("data-view", "after")
    expect(page.locator("#divider")).to_be_hidden()
    page.get_by_role("button", name="Brown").click()
    expect(page.locator("#compare")).to_have_attribute("data-view", "both")


def test_other_model_has_its_own_switches(page: Page) -> None:
    """Choosing a model changes the switches, and a domain that can't be negated has no `without`."""
    page.get_by_role("combobox", name="Model").select_option("flip")
    expect(page.get_by_role("button", name="Zebra")).to_be_visible()
    expect(page.get_by_role("button", name="Blond")).to_have_count(0)
    expect(page.get_by_role("button", name="Without zebra")).to_have_count(0)


def test_samples_are_those_of_the_chosen_model(visit: Open, tmp_path: Path) -> None:
    """The page shows the chosen model's samples, or all samples if it has none."""
    toy_bundle(tmp_path, name="one")
    toy_bundle(tmp_path, name="two", size=64)
    flip_bundle(tmp_path)
    with serving(Store([tmp_path]), settings()) as address:
        page = visit(address)
        for name, samples in {"one": 1, "two": 1, "flip": 2}.items():
            page.get_by_role("combobox", name="Model").select_option(name)
            expect(page.locator("#sample-list button")).to_have_count(samples)
        page.get_by_role("combobox", name="Model").select_option("two")
        expect(page.locator("#sample-list button")).to_have_count(1)
        page.get_by_role("button", name="Sample 1").click()
        expect(page.get_by_role("combobox", name="Model")).to_have_value("two")


def test_new_wish_drops_the_work_of_the_former(visit: Open, store: Store) -> None:
    """Another press while the service is busy cancels the last request."""
    stuck = Stuck()
    with serving(store, settings(), stuck) as address:
        page = visit(address)
        page.get_by_role("button", name="Sample 1").click()
        page.get_by_role("button", name="Brown").click()
        assert stuck.begun.wait(20)
        expect(page.locator("#stage")).to_have_attribute("aria-busy", "true")
        page.get_by_role("button", name="Brown").click()
        expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
        assert stuck.dropped.wait(20)


def test_file_that_is_no_picture_is_explained(page: Page) -> None:
    """The page shows a problem's words and code, and no `Try again` if that can't help."""
    page.get_by_role("button", name="Brown").click()
    page.locator("#file").set_input_files({"name": "not.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.get_by_role("alert")).to_contain_text("unsupported-media-type")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()


def test_region_is_sent_and_reset(page: Page) -> None:
    """With the region `face`, a picture without one shows the problem; Reset goes back to the default."""
    page.get_by_role("button", name="Sample 1").click()
    page.get_by_role("button", name="Brown").click()
    expect(page.locator("#compare")).to_have_attribute("data-view", "both")
    page.get_by_text("Output").click()
    page.get_by_label("Region").select_option("face")
    expect(page.get_by_role("alert")).to_contain_text("no-face")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_label("Region")).to_have_value("auto")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_problem_takes_the_place_of_the_old_picture(visit: Open, store: Store) -> None:
    """When a wish fails, the last result goes, and `Try again` is shown if it may help."""
    with serving(store, settings(rate="1/hour")) as address:
        page = visit(address)
        page.get_by_role("button", name="Sample 1").click()
        page.get_by_role("button", name="Brown").click()
        expect(page.get_by_role("link", name="Download")).to_be_visible()
        page.get_by_role("button", name="Grey").click()
        expect(page.get_by_role("alert")).to_contain_text("rate-limited")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        expect(page.get_by_role("link", name="Download")).to_be_hidden()
        expect(page.locator("#after")).to_be_hidden()


def test_curl_command_is_the_present_wish(page: Page, address: str) -> None:
    """The copied curl command has the picture's name and the domains."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Blond").click()
    page.locator("#file").set_input_files({**PICTURE, "name": "it's me.png"})
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    assert f"'{address}/translate?domains=blond&model=toy'" in command
    assert r"'image=@it'\''s me.png'" in command


def test_key_is_asked_for_and_remembered(visit: Open, store: Store) -> None:
    """With keys, the page asks for one, shows when it is wrong, and works with the right one."""
    locked: ServiceSettings = settings(keys=("open sesame",))
    with serving(store, locked) as address:
        page = visit(address)
        for attempt in ("wrong", "open sesame"):
            page.get_by_label("This service needs a key").fill(attempt)
            page.get_by_role("button", name="Unlock").click()
            expect(page.get_by_role("alert")).to_be_visible(visible=attempt == "wrong")
        expect(page.get_by_role("button", name="Sample 1")).to_be_visible()
        page.reload()
        page.get_by_role("button", name="Sample 1").click()
        page.get_by_role("button", name="Brown").click()
        expect(page.get_by_role("link", name="Download")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_fits_a_telephone(visit: Open, address: str, path: str) -> None:
    """On a narrow screen nothing is wider than the page."""
    page = visit(f"{address}{path}", width=390, height=844)
    expect(page.locator("#sample-list button, #errors").first).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_docs_explain_every_code(visit: Open, address: str) -> None:
    """The link in a problem's `type` leads to its row."""
    page = visit(f"{address}/docs#unknown-domain")
    for kind in KINDS:
        expect(page.locator(f"#{kind.code}")).to_contain_text(str(kind.status))
    expect(page.locator("#unknown-domain")).to_be_in_viewport()


def shown(page: Page, image: str) -> str:
    """The pixels of a picture on the page."""
    script = """(image) => {
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return context.getImageData(0, 0, canvas.width, canvas.height).data.join();
    }"""
    pixels: str = page.locator(image).evaluate(script)
    return pixels


def _foreign(requested: str, page: str) -> list[str]:
    origin = "/".join(page.split("/")[:3])
    return [] if requested.startswith((origin, "blob:", "data:")) else [f"asked for {requested}"]
