"""Names that hold markup, marks and too many characters, on every page that shows them."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from browser.conftest import CHROMIUM, Server
from planted_assets import make_assets
from refusals import shown
from viewing import opened, verdict, view

from app.deciding.desk import shift_place, tpp_place
from app.report_page import result_page
from app.services import ledger, scoring
from saeeval_core.config import RunConfig
from saeeval_core.evaluation.result_json import from_json
from saeeval_core.ledger.places import new_set

pytestmark = pytest.mark.hostile

NAMES = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked=1'>",
    "<svg onload=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "[link](javascript:window.hacked=1)",
    "**bold** $x^2$ :material/delete: :red[red]",
    "\u202eevil\u202c \u2066abc",
    "x" * 300,
    "\U0001f600\u200d\U0001f469 e\u0301" * 9,
    "a\nb\tc\r\nd",
    "`code` ~~gone~~ | a | b |",
    "{{7*7}} ${7*7} %s %n {0}",
    "'; drop table sets; --",
    "&lt;b&gt; &amp; &#x3c;",
    "=cmd|'/C calc'!A0",
]
VIEWS = ["overview", "shift_lab", "tpp_matrix", "latents", "compare", "judge"]


def on_pages() -> list:
    """(page, names): all of them on every page at once, each alone on one page, in the long form on all."""
    cases = [pytest.param(page, NAMES, id=f"{page}-all") for page in VIEWS]
    for i, name in enumerate(NAMES):
        for j, page in enumerate(VIEWS):
            marks = [] if j == i % len(VIEWS) else [pytest.mark.soak]
            cases.append(pytest.param(page, [name], id=f"{page}-{shown(name)}", marks=marks))
    return cases


@pytest.mark.parametrize(("page", "names"), on_pages())
def test_a_page_with_a_set_a_rater_and_an_explanation_of_that_name(planted_app, page, names):
    loaded = opened(RunConfig())
    store = ledger.store()
    direction = scoring.shift_directions(loaded)[0]
    for name in names:
        made = new_set(store, shift_place(loaded, direction), name[:80], name[:80], {5: "ablate"})
        new_set(store, tpp_place(loaded, loaded.task_set.tpp[1][0]), name[:80], name[:60], {17: "ablate"})
        store.add_verdicts([verdict(loaded, 5, name, "imported", {"gender": 3}, explanation=name)])
        store.add_verdicts([verdict(loaded, 17, "Claude", "llm", {}, status="invalid answer", raw=name)])
    at = view(page, {"shift_set": str(made.id), "latent": "5"})
    assert not at.exception


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_a_report_about_things_of_that_name(name):
    score = {"score": 0.5, "ci": [0.4, 0.6], "reason": name}
    tpp = {
        "classes": [name, "y"],
        "by_n": [{"n": 5, "n_ablated": [5, 5], "test": score | {"matrix": [[0.3, None], [0.1, 0.2]]}}],
    }
    sae = {"sae": name, "about": {"architecture": name}, "tpp": tpp, "warnings": [name]}
    run = {
        "config": {"model": name},
        "model": {"name": name},
        "task": {"name": name},
        "results": [sae],
        "versions": {name: name},
    }
    page = result_page(from_json(json.loads(json.dumps(run)), name), when="now")
    assert "window.hacked = 1</script>" not in page and "<img src=x" not in page and "<svg onload" not in page


@pytest.fixture(scope="module")
def browser_page(tmp_path_factory) -> Iterator[tuple]:
    """(page, server, addresses that were asked for elsewhere): one session for all."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; install it or set SAEEVAL_CHROMIUM")
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_ASSETS", str(folder / "assets"))
        patch.setenv("SAEEVAL_STORE", str(folder / "store.sqlite"))
        make_assets(folder / "assets", per_cell=110)
        loaded = opened(RunConfig())
        store = ledger.store()
        for name in NAMES:
            new_set(
                store, shift_place(loaded, scoring.shift_directions(loaded)[0]), name[:80], name[:80], {5: "ablate"}
            )
            store.add_verdicts([verdict(loaded, 5, name, "imported", {"gender": 3}, explanation=name)])
        server = Server(folder / "assets", folder)
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, elsewhere = chromium.new_page(), []
        page.on(
            "request", lambda r: elsewhere.append(r.url) if not r.url.startswith((server.url, "data:", "blob:")) else 0
        )
        page.set_default_timeout(30_000)
        yield page, server, elsewhere
        chromium.close()
    server.kill()


PAGES = [f"/{path}" for path in ("", "shift", "tpp", "latents", "compare", "judge")]
ADDRESSES = [*PAGES, "/shift?shift_set=1", "/shift?shift_set=2", "/latents?latent=5", "/judge?tab=raters"]
LINKS = [f"/shift?pair={quote(n)}&search={quote(n)}&task={quote(n[:60])}" for n in NAMES]
ADDRESSES += [pytest.param(link, marks=() if k < 6 else pytest.mark.soak) for k, link in enumerate(LINKS)]
"""In the short form links with names that a browser would run or fetch."""


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda a: ascii(a)[:40])
def test_in_a_browser_nothing_runs_and_nothing_is_fetched_from_elsewhere(browser_page, address):
    page, server, elsewhere = browser_page
    page.goto(server.url + address)
    page.get_by_test_id("stSidebar").wait_for(state="attached")
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    assert page.evaluate("window.hacked") is None and elsewhere == []
    assert page.get_by_test_id("stException").count() == 0
