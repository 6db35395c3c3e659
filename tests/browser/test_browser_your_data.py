"""Your data in Chromium: from a file as spreadsheets write it to the lab, and still there for everybody afterwards."""

import csv
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect
from test_browser_presses import lab

WAIT = 60_000
JOBS = {"nurse": "nurse, registérd", "surgeon": "surgeon (general), MD"}


@pytest.fixture
def write(tiny_texts, tmp_path: Path):
    """``write(name, per_cell)``: the tiny texts as a Latin-1 file with semicolons and commas in labels."""

    def write_(name: str, per_cell: int) -> Path:
        count: dict[tuple[str, str], int] = {}
        columns = (tiny_texts.columns[c] for c in ("profession", "gender"))
        with (tmp_path / name).open("w", newline="", encoding="latin-1") as file:
            out = csv.writer(file, delimiter=";")
            out.writerow(["bio", "job", "gender"])
            for text, job, gender in zip(tiny_texts.texts, *columns, strict=True):
                count[job, gender] = count.get((job, gender), 0) + 1
                if count[job, gender] <= per_cell:
                    out.writerow([f"{text} !", JOBS[job], gender])  # texts that no other test has read
        return tmp_path / name

    return write_


@pytest.fixture
def data_page(open_page, tiny_model_dir: Path, tiny_sae_dirs):
    """``data_page(width=1440)``: the view with a tiny model and SAE from folders."""
    chosen = urlencode({"model": str(tiny_model_dir), "sae": str(tiny_sae_dirs["topk"])})

    def open_(**how) -> Page:
        page = open_page(f"/data?{chosen}", **how)
        page.get_by_role("heading", name="1 File").wait_for(timeout=WAIT)
        return page

    return open_


def send(page: Page, path: Path) -> None:
    page.locator("input[type=file]").last.set_input_files(str(path))


def choose_latin_1(page: Page) -> None:
    expect(page.get_by_text("is not UTF-8")).to_be_visible(timeout=WAIT)
    box = page.get_by_role("combobox", name="Encoding")
    box.click()
    box.fill("latin")
    page.get_by_role("option", name="latin-1").click()


def test_from_a_spreadsheets_file_to_the_lab_and_still_there(data_page, open_page, server, write, tmp_path):
    page = data_page(who="owner")
    send(page, write("Jobs 2024.csv", 80))
    choose_latin_1(page)
    expect(page.get_by_text("'Jobs 2024.csv'")).to_be_hidden(timeout=WAIT)
    expect(page.get_by_text("delimiter semicolon, header found")).to_be_visible(timeout=WAIT)
    expect(page.locator("table.quadrants")).to_contain_text("job: nurse, registérd")
    page.get_by_role("button", name="Keep this task").click()
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text("There is no recording of").first).to_be_visible(timeout=WAIT)
    expect(main.get_by_text("at least").first).to_contain_text("tokens")
    main.get_by_role("button", name="Run").click()
    page.get_by_role("link", name="Open the SHIFT lab").click(timeout=2 * WAIT)
    lab(page)
    assert "own%3Ajobs_2024-" in page.url
    page.keyboard.press("k")
    lab(page)
    page.reload()
    lab(page)

    path = page.url.removeprefix(server.url)
    lab(open_page(path, who="colleague", width=390, height=844))
    server.kill()
    server.start()
    lab(open_page(path, who="later", dark=True))
    listed = open_page("/data", who="anyone")
    kept = listed.get_by_text("jobs_2024 · 320 texts of Jobs 2024.csv")
    expect(kept).to_be_visible(timeout=WAIT)
    with listed.expect_download() as export:
        listed.get_by_role("button", name="Export").click()
    there = tmp_path / export.value.suggested_filename
    export.value.save_as(there)
    listed.get_by_role("button", name="Delete").click()
    listed.get_by_role("button", name="for everybody").click()
    expect(kept).to_have_count(0, timeout=WAIT)
    listed.get_by_text("Import a task").click()
    listed.locator("input[type=file]").first.set_input_files(str(there))
    listed.get_by_role("button", name="Import", exact=True).click()
    expect(kept).to_be_visible(timeout=WAIT)
    lab(open_page(path, who="again"))


def test_thirty_rows_are_refused_in_the_form_and_mended_there(data_page, write):
    page = data_page(width=390, height=844)
    send(page, write("thirty.csv", 8))
    choose_latin_1(page)
    expect(page.get_by_text("training texts of 8; 40 are needed").first).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("button", name="Keep this task")).to_have_count(0)
    expect(page.get_by_role("combobox", name="Target label")).to_be_visible()
    send(page, write("more.csv", 80))
    choose_latin_1(page)
    expect(page.get_by_role("button", name="Keep this task")).to_be_visible(timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
