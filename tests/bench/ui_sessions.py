"""Ten people at once: separate browser contexts, each deciding once a second for a minute; nothing may get lost.

    python tests/bench/ui_sessions.py [--assets DIR] [--sessions 10] [--seconds 60] [--out result.json]

Reports the page-side p95 (all browsers share this machine with the server), the server-side p95 of one press (from the
server's own clock), the server's CPU time, and decisions pressed against decisions stored.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import psutil
from ui_latency import _WATCH, CHROMIUM, percentile, serve


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", default=os.environ.get("SAEEVAL_ASSETS", ""))
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        store = f"{folder}/store.sqlite"
        timings = Path(folder) / "timings.txt"
        os.environ["SAEEVAL_TIMINGS"] = str(timings)
        with serve(args.assets, os.environ.get("SAEEVAL_CACHE", f"{folder}/cache"), store) as (url, process):
            browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            pages = []
            for k in range(args.sessions):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                context.add_cookies([{"name": "saeeval_who", "value": f"person{k}", "url": url}])
                page = context.new_page()
                page.goto(f"{url}/shift")
                page.get_by_test_id("score").wait_for(timeout=120_000)
                page.evaluate(_WATCH)
                pages.append(page)
            before = psutil.Process(process.pid).cpu_times()
            pressed, started = 0, time.monotonic()
            for second in range(args.seconds):
                for k, page in enumerate(pages):
                    # Pressed without waiting; the page itself keeps the time.
                    key = "a" if second % 3 != 2 else "z"
                    page.evaluate(
                        "key => { window.__press(key).then((t) => window.__times.push(t));"
                        " document.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true})); }",
                        key,
                    )
                    pressed += 1
                    _until(started + second + (k + 1) / args.sessions)
            for page in pages:
                page.wait_for_timeout(200)
                page.wait_for_function("window.__lab().dataset.pending === '0'", timeout=60_000)
            wall = time.monotonic() - started
            after = psutil.Process(process.pid).cpu_times()
            times = [t for page in pages for t in page.evaluate("window.__times")]
            errors = sum(
                page.get_by_test_id("stAlert").count() + page.get_by_test_id("stException").count() for page in pages
            )
            browser.close()
        with sqlite3.connect(store) as db:
            stored = db.execute("select count(*) from decisions").fetchone()[0]
        server = [float(line) for line in timings.read_text().split()] if timings.exists() else []
    unanswered = sum(t < 0 for t in times)
    times = [t for t in times if t >= 0]
    result = {
        "sessions": args.sessions,
        "seconds": round(wall, 1),
        "pressed": pressed,
        "stored": stored,
        "lost": pressed - stored,
        "errors": errors,
        "unanswered": unanswered,
        "page_p95_ms": round(percentile(times, 95), 1),
        "page_median_ms": round(percentile(times, 50), 1),
        "server_p95_ms": round(percentile(server, 95), 1) if server else None,
        "server_cpu_ms_per_press": round(1000 * (after.user + after.system - before.user - before.system) / pressed, 1),
        "load_average": os.getloadavg()[0],
    }
    text = json.dumps(result)
    if args.out:
        args.out.write_text(text)
    sys.stdout.write(text + "\n")


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


if __name__ == "__main__":
    main()
