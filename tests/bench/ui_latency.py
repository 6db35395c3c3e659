"""Latency a person feels: key press to the changed score, TPP slider to the redrawn matrix, in Chromium on the real app.

    python tests/bench/ui_latency.py [--assets DIR] [--presses 60] [--stay] [--out result.json]
    python tests/bench/ui_latency.py --planted 16384x1250     # a planted bundle: width x texts per cell (8 cells)

Writes {"decision_p95_ms", "decision_ms": [...], "erasure_p95_ms" (key press to the new E), "slider_p95_ms", ...}. The
clock runs inside the page: from the key event to the frame after the score's text has changed.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("SAEEVAL_CHROMIUM", "/usr/bin/chromium")
_WATCH = """() => {
  const find = (root) => {
    for (const n of root.querySelectorAll('*')) {
      if (n.classList.contains('lab')) return n;
      const inside = n.shadowRoot && find(n.shadowRoot);
      if (inside) return inside;
    }
    return null;
  };
  window.__lab = () => find(document);
  window.__times = [];
  const shown = () => __lab().querySelector('[data-testid=score]').textContent + __lab().querySelector('.score .small').textContent;
  window.__press = (key) => new Promise((done) => {
    const before = shown(), t0 = performance.now();
    const watch = new MutationObserver(() => {
      if (shown() === before) return;
      watch.disconnect();
      requestAnimationFrame(() => done(performance.now() - t0));
    });
    watch.observe(__lab(), {childList: true, subtree: true, characterData: true});
    setTimeout(() => { watch.disconnect(); done(-1); }, 10000);
    document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  });
  // The answer with the new score says that E is being read; then it is waited for, from the key on.
  window.__pressAndRead = async (key) => {
    const t0 = performance.now();
    if (await __press(key) < 0) return -1;
    return new Promise((done) => {
      const look = () => {
        const box = __lab().querySelector('[data-testid=gone]');
        if (box && box.dataset.pending === 'false') done(performance.now() - t0);
        else if (performance.now() - t0 > 10000) done(-1);
        else requestAnimationFrame(look);
      };
      look();
    });
  };
}"""
_SLIDE = """() => {
  const find = (root) => {
    for (const n of root.querySelectorAll('*')) {
      if (n.classList.contains('tpp')) return n;
      const inside = n.shadowRoot && find(n.shadowRoot);
      if (inside) return inside;
    }
    return null;
  };
  const tpp = find(document), slider = tpp.querySelector('input[type=range]');
  window.__slide = (up) => new Promise((done) => {
    const shown = () => tpp.dataset.n + [...tpp.querySelectorAll('button.cell')].map((n) => n.textContent).join('|');
    const before = shown(), t0 = performance.now();
    const watch = new MutationObserver(() => {
      if (shown() === before) return;
      watch.disconnect();
      requestAnimationFrame(() => done(performance.now() - t0));
    });
    watch.observe(tpp, {childList: true, subtree: true, characterData: true, attributes: true});
    setTimeout(() => { watch.disconnect(); done(-1); }, 10000);
    slider.value = Number(slider.value) + (up ? 1 : -1);
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    slider.dispatchEvent(new Event('change', {bubbles: true}));
  });
}"""


@contextmanager
def serve(assets: str, cache: str, store: str, *, port: int = 0):
    """The real server on a free port; yields (url, process)."""
    port = port or free_port()
    env = os.environ | {"SAEEVAL_CACHE": cache, "SAEEVAL_STORE": store, "PYTHONPATH": str(ROOT)}
    if assets:
        env["SAEEVAL_ASSETS"] = assets
    process = subprocess.Popen(
        [sys.executable, "-m", "app.launch", str(port)], env=env, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        yield f"http://localhost:{port}", process
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port: int, seconds: float = 60) -> None:
    """Until the server accepts connections."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no server on port {port} after {seconds:.0f} s")


def percentile(values: list[float], p: float) -> float:
    """Nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(round(p / 100 * (len(ordered) - 1))))]


def decisions(page, presses: int) -> list[float]:
    """Milliseconds of each press of A (toggled by Z, so that the score changes every time), moving on between."""
    page.evaluate(_WATCH)
    times = []
    for k in range(presses):
        ms = page.evaluate("key => window.__press(key)", "a" if k % 3 != 2 else "z")
        times.append(ms)
        if k % 3 == 0:
            page.keyboard.press("ArrowDown")
        page.wait_for_timeout(350)
    return times


def read_again(page, presses: int) -> list[float]:
    """Milliseconds from a press to E of the new set, read by fresh probes; the next press waits for it."""
    times = []
    for k in range(presses):
        times.append(page.evaluate("key => window.__pressAndRead(key)", "a" if k % 3 != 2 else "z"))
        if k % 3 == 0:
            page.keyboard.press("ArrowDown")
        page.wait_for_timeout(350)
    return times


def slider(page, url: str, moves: int) -> list[float]:
    """Milliseconds from a move of N to the redrawn matrix; empty, with the reason on stderr, when there is no such page."""
    from playwright.sync_api import Error

    page.goto(f"{url}/tpp")
    try:
        page.locator(".tpp button.cell").first.wait_for(timeout=60_000)
    except Error as error:
        sys.stderr.write(f"slider not measured: {str(error).splitlines()[0]}\n")
        return []
    page.wait_for_timeout(1500)
    page.evaluate(_SLIDE)
    times = []
    for k in range(moves):
        times.append(page.evaluate("up => window.__slide(up)", k % 12 < 6))
        page.wait_for_timeout(350)
    return times


def main() -> None:
    """Measure and print the distribution."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", default=os.environ.get("SAEEVAL_ASSETS", ""))
    parser.add_argument("--planted", default="", help="WIDTHxPER_CELL")
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--stay", action="store_true", help="the lab stays at the latent that was decided on")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        assets = args.assets
        if args.planted:
            width, per_cell = args.planted.split("x")
            assets = f"{folder}/assets"
            subprocess.run(
                [sys.executable, ROOT / "tests/planted_assets.py", assets, width, per_cell],
                check=True,
                env=os.environ | {"PYTHONPATH": str(ROOT), "SAEEVAL_CACHE": f"{folder}/cache"},
            )
        with (
            serve(assets, os.environ.get("SAEEVAL_CACHE", f"{folder}/cache"), f"{folder}/store.sqlite") as (url, _),
            sync_playwright() as p,
        ):
            browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            if args.stay:
                page.add_init_script("localStorage.setItem('saeeval.advance', '0')")
            started = time.monotonic()
            page.goto(f"{url}/shift")
            page.get_by_test_id("score").wait_for(timeout=60_000)
            first = time.monotonic() - started
            page.wait_for_timeout(2000)
            pressed = decisions(page, args.presses)
            read = read_again(page, args.presses // 2)
            rows = page.evaluate("window.__lab().querySelectorAll('.qrow').length - 1")
            moved = slider(page, url, 24)
            browser.close()
    result = {
        "first_screen_s": round(first, 2),
        "queue_rows": rows,
        "decisions_unanswered": sum(t < 0 for t in pressed),
    }
    for name, all_times in (("decision", pressed), ("erasure", read), ("slider", moved)):
        times = [round(t, 1) for t in all_times if t >= 0]
        result |= {
            f"{name}_median_ms": median(times) if times else None,
            f"{name}_p95_ms": percentile(times, 95) if times else None,
            f"{name}_ms": times,
        }
    text = json.dumps(result)
    if args.out:
        args.out.write_text(text)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
