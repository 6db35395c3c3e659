"""Explanations published by Neuronpedia, for SAEs that carry a neuronpedia id such as "gpt2-small/0-res-jb".

They lie in a public bucket as ``v1/MODEL/SOURCE/explanations/batch-0.jsonl.gz``, ``batch-1``, and so on. Tested against
a local server only: it has not been verified against the live service.
"""

import gzip
import io
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator

from saeeval_core.errors import DataError
from saeeval_core.judging.imports import Row, published
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.storage.parse_json import NotJson, parse_json

BASE_URL = "https://neuronpedia-datasets.s3.us-east-1.amazonaws.com"
_LARGEST = 64 * 2**20  # bytes of one compressed batch
_LARGEST_UNPACKED = 512 * 2**20
_MOST_BATCHES = 2000


def fetch_explanations(sae: KnownSae, *, base_url: str = BASE_URL, timeout: float = 20.0) -> list[Verdict]:
    """The last explanation per latent and author, as "imported" verdicts without ratings.

    DataError without an id, when the service cannot be reached or has nothing, or when the explanations do not fit the
    SAE (another id, or a latent it does not have).
    """
    model, slash, source = (sae.neuronpedia_id or "").partition("/")
    if not slash:
        raise DataError(f"SAE '{sae.id}' has no neuronpedia id; import explanations from a CSV or JSONL file instead")
    found = published(
        sae.neuronpedia_id or "", _rows(f"{base_url.rstrip('/')}/v1/{model}/{source}/explanations", timeout), sae
    )
    if not found:
        raise DataError(f"Neuronpedia has no explanations for '{sae.neuronpedia_id}'")
    return found


def _rows(folder: str, timeout: float) -> Iterator[Row]:
    for number in range(_MOST_BATCHES):
        content = _get(f"{folder}/batch-{number}.jsonl.gz", timeout)
        if content is None:
            return
        try:
            unpacked = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_LARGEST_UNPACKED + 1)
            if len(unpacked) > _LARGEST_UNPACKED:
                raise DataError(f"batch {number} of {folder} is larger than {_LARGEST_UNPACKED >> 20} MB when unpacked")
            rows = [parse_json(line) for line in unpacked.split(b"\n") if line.strip()]
        except (OSError, EOFError, zlib.error, NotJson):
            raise DataError(
                f"batch {number} of {folder} is damaged or not gzipped JSON lines; try again later"
            ) from None
        if not all(isinstance(row, dict) for row in rows):
            raise DataError(f"batch {number} of {folder} does not hold one object per line; its format has changed")
        yield from rows


def _get(url: str, timeout: float) -> bytes | None:
    """The body, or None where there is no such file (a bucket answers 403 or 404)."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            content = reply.read(_LARGEST + 1)
    except urllib.error.HTTPError as error:
        if error.code in (403, 404):
            return None
        raise DataError(f"Neuronpedia answered {error.code} for {url}; try again later") from None
    except OSError as error:
        why = getattr(error, "reason", error)
        raise DataError(f"Neuronpedia cannot be reached ({why}); with no network, import a CSV or JSONL file") from None
    if len(content) > _LARGEST:
        raise DataError(f"{url} is larger than {_LARGEST >> 20} MB; import a CSV or JSONL file instead")
    return content
