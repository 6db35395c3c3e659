"""Verdicts as files, and loading those that come with the bundled SAEs into the store."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from saeeval_core.config import assets_dir
from saeeval_core.errors import DataError
from saeeval_core.judging.imports import check_latents
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import RATER_KINDS, Verdict
from saeeval_core.recordings.known_saes import KnownSae, recorded_sae
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.field_types import require_types
from saeeval_core.storage.json_files import require
from saeeval_core.storage.manifest import is_as_shipped
from saeeval_core.storage.parse_json import NotJson, parse_json

_SHARED = ("sae", "sae_fingerprint", "task", "rater", "rater_kind", "model", "prompt", "status")
_OWN = ("latent", "ratings", "explanation", "reason", "evidence_hash")


def write_verdicts(path: Path, verdicts: Sequence[Verdict]) -> None:
    """One JSON object per line, for readable diffs; a line ``{"shared": ...}`` holds what the rows below it share.

    The word-for-word reply (``raw``) is left out; explanation, reason and ratings say the same.
    """
    lines: list[str] = []
    above: dict[str, object] | None = None
    for v in verdicts:
        shared = {k: getattr(v, k) for k in _SHARED}
        if shared != above:
            lines.append(json.dumps({"shared": shared}, ensure_ascii=False))
            above = shared
        lines.append(json.dumps({k: _plain(getattr(v, k)) for k in _OWN}, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def read_verdicts(path: Path) -> list[Verdict]:
    """Inverse of ``write_verdicts``; DataError for a line that is not a verdict."""
    out = []
    shared: dict[str, object] = {}
    for line, own in _lines(path):
        if isinstance(own.get("shared"), dict):
            shared = own["shared"]
            continue
        row = shared | own
        if (
            set(row) != {*_SHARED, *_OWN}
            or row["rater_kind"] not in RATER_KINDS
            or not isinstance(row["ratings"], dict)
        ):
            raise DataError(
                f"line {line} of '{path.name}' is not a verdict; it needs exactly {', '.join(_OWN)}, and above it "
                f"a line with {', '.join(_SHARED)}: make the file again with saeeval build-bundle --step verdicts"
            )
        try:
            out.append(require_types(Verdict(**row)))
            require(out[-1].latent >= 0, f"latent {out[-1].latent}")
        except ValueError as error:
            raise DataError(f"line {line} of '{path.name}' is not a verdict: {error}; make the file again") from None
    return out


def _lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """(line number, object) of JSON lines."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except NotJson as error:
            raise DataError(f"line {number} of '{path.name}' is not JSON ({error}); make the file again") from None
        if not isinstance(row, dict):
            raise DataError(f"line {number} of '{path.name}' is not an object; make the file again")
        yield number, row


def load_shipped(store: Store, sae: KnownSae, folder: Path | None = None) -> int:
    """Put the verdicts shipped for exactly these weights into the store, once; returns how many were new.

    ``folder``: where verdict files lie, by default the shipped ones. DataError for a file that does not fit the SAE. A
    shipped file that is not what the manifest says is named on stderr and skipped.
    """
    path = (folder or assets_dir() / "verdicts") / f"{sae.id}.jsonl"
    if not path.exists() or not is_as_shipped(path):
        return 0
    own = [v for v in read_verdicts(path) if v.sae_fingerprint == sae.fingerprint]
    check_latents(path.name, (v.latent for v in own), sae)
    known = {v.key for v in store.verdict_history(sae.fingerprint)}
    new = [v for v in own if v.key not in known]
    if new:
        store.add_verdicts(new)
    return len(new)


def load_shipped_verdicts(store: Store, latents: LatentRecording) -> int:
    """The same for a recorded SAE."""
    return load_shipped(store, recorded_sae(latents))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value
