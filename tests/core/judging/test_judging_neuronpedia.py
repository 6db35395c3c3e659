"""The Neuronpedia client against a local server: batches, checks against the SAE, faults, timeout."""

import gzip
import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from saeeval_core.errors import DataError
from saeeval_core.judging.neuronpedia import fetch_explanations
from saeeval_core.recordings.known_saes import KnownSae

SAE = KnownSae("gpt2-small-res-jb/blocks.0", "blocks.0.hook_resid_pre", "print", 4, "gpt2-small/0-res-jb")
FOLDER = "/v1/gpt2-small/0-res-jb/explanations"


def row(index, text: str, **more) -> dict:
    return {
        "modelId": "gpt2-small",
        "layer": "0-res-jb",
        "index": index,
        "description": text,
        "explanationModelName": "m",
    } | more


def packed(*rows: dict) -> bytes:
    return gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())


@pytest.fixture
def serve():
    """Start a server that answers the given path -> bytes, status or seconds to sleep."""
    running = []

    def start(files: dict) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args) -> None:
                pass

            def do_GET(self) -> None:
                found = files.get(self.path, 404)
                if isinstance(found, float):
                    time.sleep(found)
                    found = 404
                self.send_response(200 if isinstance(found, bytes) else found)
                self.end_headers()
                if isinstance(found, bytes):
                    self.wfile.write(found)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_all_batches_are_read_as_imported(serve) -> None:
    url = serve(
        {
            f"{FOLDER}/batch-0.jsonl.gz": packed(
                row("3", "old"), row("3", " pronouns "), row(0, "x", explanationModelName="n")
            ),
            f"{FOLDER}/batch-1.jsonl.gz": packed(row("1", "dates")),
        }
    )
    found = fetch_explanations(SAE, base_url=url)
    assert [(v.latent, v.explanation, v.rater) for v in found] == [
        (0, "x", "Neuronpedia (n)"),
        (1, "dates", "Neuronpedia (m)"),
        (3, "pronouns", "Neuronpedia (m)"),
    ]
    assert {(v.rater_kind, v.sae_fingerprint, v.ok, len(v.ratings)) for v in found} == {("imported", "print", True, 0)}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (packed(row("4", "x")), "names latent 4"),
        (packed(row("1", "x", layer="1-res-jb")), "not for 'gpt2-small/0-res-jb'"),
        (packed({"modelId": "gpt2-small"}), "no index or description"),
        (packed([1]), "one object per line"),
        (b"not gzip", "damaged"),
        (gzip.compress(b"{oops"), "damaged"),
        (packed(row("1", "x"))[:-9], "damaged"),
        (500, "answered 500"),
        (404, "has no explanations"),
        (2.0, "cannot be reached"),
    ],
    # Names of their own: gzip writes the time into its header, and every worker must collect the same names.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_faults_are_one_clear_line(serve, batch, message: str) -> None:
    url = serve({f"{FOLDER}/batch-0.jsonl.gz": batch})
    with pytest.raises(DataError, match=message):
        fetch_explanations(SAE, base_url=url, timeout=0.5)


def test_no_id_and_no_network() -> None:
    with pytest.raises(DataError, match="has no neuronpedia id"):
        fetch_explanations(replace(SAE, neuronpedia_id=None))
    with pytest.raises(DataError, match="cannot be reached"):
        fetch_explanations(SAE, base_url="http://127.0.0.1:9", timeout=0.5)
