"""Names that would be markup, in every view: they stand there as they are, and ask no other server for anything."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

import pandas as pd
import pytest
from driving import settled
from playwright.sync_api import Page, expect

from saeeval_core.config import DEFAULT_SAE
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.saes.local import file_fingerprint, inspect_sae

pytestmark = pytest.mark.hostile
WAIT = 60_000
ELSEWHERE = "http://127.0.0.1:9"
IMAGE, SCRIPT = f"![x]({ELSEWHERE}/x.png)", f"<img src={ELSEWHERE}/y.png onerror=hacked=1>"
ICON, FORMULA, LINK = ":material/home: :red[x]", "$x^2$ **b**", f"[a](javascript:hacked=1) {ELSEWHERE}/z"
NAMES = {
    "professor": IMAGE,
    "teacher": ICON,
    "surgeon": FORMULA,
    "nurse": SCRIPT,
    "female": LINK,
    "male": "&lt;b&gt; `c`",
}
WHO = f"{IMAGE} {ICON}"[:60]


@pytest.fixture(scope="module")
def hostile(server, chromium, tmp_path_factory) -> Iterator[tuple[Callable[[str], Page], Store]]:
    """(open a page of a server whose labels are hostile, that server's store); fails on any request elsewhere."""
    folder = tmp_path_factory.mktemp("hostile")
    assets = shutil.copytree(server.env["SAEEVAL_ASSETS"], folder / "assets")
    frame = pd.read_parquet(assets / "texts" / "bios.parquet").replace(NAMES)
    frame.to_parquet(assets / "texts" / "bios.parquet")
    about = (assets / "texts" / "bios.json").read_text()
    for name, other in NAMES.items():
        about = about.replace(json.dumps(name), json.dumps(other))
    (assets / "texts" / "bios.json").write_text(about)
    shutil.rmtree(assets / "results", ignore_errors=True)
    running = type(server)(assets, folder)
    context = chromium.new_context(viewport={"width": 1440, "height": 1200})
    requests: list[str] = []
    context.on("request", lambda r: requests.append(r.url))

    page = context.new_page()  # the same for all: a page in a new tab takes twice the time
    page.set_default_timeout(WAIT)

    def open_(path: str) -> Page:
        page.goto(running.url + path)
        settled(page)
        box = page.get_by_role("textbox", name="Your name")
        if box.input_value() != WHO:  # every page after the first has it from the first
            box.fill(WHO)
            box.press("Enter")
            page.wait_for_timeout(1500)
        return settled(page)

    yield open_, Store(running.store)
    context.close()
    running.kill()
    own = (running.url, "data:", "blob:")
    assert not [u for u in requests if not u.startswith(own)]


def check(page: Page) -> None:
    """Nothing on the page was made of a name."""
    settled(page).wait_for_timeout(300)
    made = page.evaluate(
        f"""() => ({{
          images: document.querySelectorAll('img[src^="{ELSEWHERE}"]').length,
          links: document.querySelectorAll('a[href^="javascript"], a[href^="{ELSEWHERE}"]').length,
          formulas: [...document.querySelectorAll('.katex')].filter(e => e.textContent.includes('x^2')).length,
          icons: [...document.querySelectorAll('[data-testid=stIconMaterial]')].filter(e => e.textContent === 'home').length,
          hacked: window.hacked || 0,
          errors: document.querySelectorAll('[data-testid=stException]').length,
        }})"""
    )
    known = {"images": 0, "links": 0, "formulas": 0, "icons": 1, "hacked": 0, "errors": 0}  # the icon of Overview
    assert made == known, made


def fill(store: Store) -> None:
    """Verdicts of raters and sets with such names."""
    if store.list_sets():
        return
    printed = str(file_fingerprint(inspect_sae(DEFAULT_SAE)))
    one = Verdict(0, printed, DEFAULT_SAE, "bios", IMAGE, "llm", explanation=SCRIPT, reason=LINK, model=ICON)
    concept = NAMES["nurse"]
    rows = [replace(one, latent=i, ratings={concept: 4 * (i < 5), "gender": 1}) for i in range(8)]
    rows += [replace(one, latent=i, rater=ICON, ratings={concept: 4 * (i < 3), "gender": 0}) for i in range(8)]
    store.add_verdicts(rows)


VIEWS = {
    "/": "SHIFT pair",
    "/shift": "Ranked by",
    "/tpp": "Sets and commit",
    "/tpp?tpp_set=" + "a%20![x](http://127.0.0.1:9/x.png)": "Sets and commit",
    "/latents": "strongest effect first",
    "/compare": "Against|No sweep",
    "/judge": "latents with a verdict",
    "/judge?tab=agreement": "ratings on",
    "/judge?tab=conflicts": "Settle as",
    "/judge?tab=blind": "What is this latent about",
    "/?sae=![x](http://127.0.0.1:9/x.png)": "unknown SAE",
    "/?model=:material/home:": "no folder",
    "/?task=$x^2$%20[a](javascript:hacked=1)": "unknown task",
    "/?protocol=:material/home:": "material",
}


@pytest.mark.parametrize("path", VIEWS)
def test_names_stand_in_every_view_as_they_are(hostile, path, monkeypatch, server):
    open_, store = hostile
    monkeypatch.setenv("SAEEVAL_ASSETS", server.env["SAEEVAL_ASSETS"])
    fill(store)
    page = open_(path)
    expect(page.get_by_text(re.compile(VIEWS[path])).first).to_be_visible(timeout=WAIT)
    check(page)


def test_names_in_texts_of_ones_own_and_in_results(hostile, tmp_path):
    open_, _ = hostile
    rows = [{"text": f"text {i}", IMAGE: (ICON, FORMULA)[i % 2], LINK: (SCRIPT, "b")[i // 2 % 2]} for i in range(80)]
    file = tmp_path / f"{FORMULA} {ICON.replace('/', '-')}.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    page = open_("/data")
    page.get_by_test_id("stMain").locator("input[type=file]").last.set_input_files(file)
    expect(page.get_by_text("80 rows, 3 columns")).to_be_visible(timeout=WAIT)
    expect(settled(page).get_by_text("2 Columns and labels")).to_be_visible(timeout=WAIT)
    check(page)
    page.get_by_text("Every column with its values").click()
    check(page)
    broken = tmp_path / f"{IMAGE.replace('/', '-')}{FORMULA}.json"
    broken.write_text("{")
    page = open_("/compare")
    page.get_by_text("Load another result").click()
    page.locator("input[type=file]").first.set_input_files(broken)
    box = page.get_by_text("is not JSON")
    expect(box).to_be_visible(timeout=WAIT)
    assert broken.name in box.inner_text().replace("\N{WORD JOINER}", "")
    check(page)
