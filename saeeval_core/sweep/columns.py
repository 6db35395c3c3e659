"""The columns of a sweep's rows, and rows in the shape that a file keeps."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
"""One line of a sweep: the keys of BLANK."""

BLANK: Mapping[str, Any] = {
    "sae": "",
    "role": "sae",
    "control": None,
    "of": None,
    "architecture": "unknown",
    "n_latents": None,
    "l0": None,
    "explained_variance": None,
    "dead": None,
    "loss_recovered": None,
    "training_tokens": None,
    "training_seed": None,
    "model": "",
    "hook": "",
    "task": "",
    "composed": False,
    "small": False,
    "metric": "",
    "variant": "top-N",
    "protocol": "robust",
    "selection": "attribution",
    "judge": None,
    "scope": "all",
    "n": None,
    "n_ablated": None,
    "part": "test",
    "value": None,
    "ci_low": None,
    "ci_high": None,
    "level": "test texts",
    "reason": None,
    "pairs": None,
    "left_out": None,
    "status": "ok",
    "error": None,
    "seed": None,
    "fingerprint": "",
}
"""A row without values: the columns a sweep writes, so that results of any origin can be compared."""


def pack(rows: Sequence[Row]) -> dict[str, Any]:
    """{"shared", "rows"} of a sweep's file: what all rows share once, in each row only what differs from it and BLANK."""
    shared = {k: rows[0][k] for k in BLANK if all(r[k] == rows[0][k] for r in rows)} if rows else {}
    plain = dict(BLANK) | shared
    return {"shared": shared, "rows": [{k: v for k, v in r.items() if k == "sae" or v != plain[k]} for r in rows]}
