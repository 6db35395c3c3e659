"""Decision sets as files: JSON or CSV out, and back in with checks against the SAE they are opened on."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from saeeval_core.errors import ArtifactError
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.storage.row_csv import csv_text, read_cell
from saeeval_core.wording import plural

SET_KIND, SET_SCHEMA = "saeeval decision set", 1
DECISIONS = ("ablate", "keep", "unsure")
TAKEN_BACK = "none"
"""In a log: the latent is decided no longer."""
_SET_COLUMNS = ("of", "latent", "decision", "rater", "rater_kind", "when", "reason")
_IDENTITY = ("name", "metric", "task", "sae", "sae_fingerprint", "recording_fingerprint")


@dataclass(frozen=True)
class ExportedDecision:
    """The current decision on one latent."""

    latent: int
    decision: str
    """One of DECISIONS."""
    of: str = ""
    """Class whose set it belongs to (TPP); "" for SHIFT."""
    rater: str = ""
    rater_kind: str = "human"
    when: str = ""
    reason: str = ""


@dataclass(frozen=True)
class LoggedDecision:
    """One step of a set's log."""

    latent: int
    new: str
    """One of DECISIONS, or ``TAKEN_BACK``."""
    of: str = ""
    """As in ``ExportedDecision``."""
    old: str = ""
    who: str = ""
    at: str = ""
    reason: str = ""
    id: int | None = None
    """Number of the step in the store that it was exported from; None in files that do not say."""
    undoes: int | None = None
    """``id`` of the step that this one undoes."""


@dataclass(frozen=True)
class ExportedSet:
    """A named set of decisions, with the SAE and recording it was made on."""

    name: str
    metric: str
    """"shift" or "tpp"."""
    task: str
    """Task with its direction or column."""
    sae: str
    sae_fingerprint: str
    recording_fingerprint: str
    decisions: tuple[ExportedDecision, ...]
    owner: str = ""
    dev_looks: int | None = None
    """Number of dev scores of it that were seen; None: unknown."""
    log: tuple[LoggedDecision, ...] = ()
    """Everything that was ever decided in it, oldest first; in JSON only. Empty: unknown."""


def set_to_json(decisions: ExportedSet) -> str:
    """Inverse of ``set_from_text``."""
    content = {"kind": SET_KIND, "schema": SET_SCHEMA} | asdict(decisions)
    return json.dumps(content, indent=1, ensure_ascii=False)


def set_to_csv(decisions: ExportedSet) -> str:
    """One row per decision, each with the set's identity; inverse of ``set_from_text``."""
    identity = {k: getattr(decisions, k) for k in (*_IDENTITY, "owner", "dev_looks")}
    return csv_text([identity | {k: getattr(d, k) for k in _SET_COLUMNS} for d in decisions.decisions])


def set_from_text(
    text: str, *, n_latents: int, sae_fingerprint: str, recording_fingerprint: str
) -> tuple[ExportedSet, list[str]]:
    """(decision set from JSON or CSV, warnings to show).

    ArtifactError for another SAE, latents that this SAE does not have, or unknown decisions. Another recording (other
    texts) is a warning only: the latents are the same. A person's decisions are marked as imported. A log that ends in
    other decisions than the set's is left out, with a warning.
    """
    found = read_set_text(text)
    check_set(found, n_latents=n_latents, sae_fingerprint=sae_fingerprint)
    kept: dict[tuple[str, int], ExportedDecision] = {}
    for d in found.decisions:
        kept[d.of, d.latent] = d
    warnings = []
    if len(kept) < len(found.decisions):
        warnings.append(f"{plural(len(found.decisions) - len(kept), 'latent')} named twice; the last decision counts")
    if found.recording_fingerprint != recording_fingerprint:
        warnings.append("the set was made on other texts or another model recording; its scores here may differ")
    log = found.log
    if log and _end(log) != {key: d.decision for key, d in kept.items()}:
        warnings.append("the log in the file does not end in the set's decisions; these are taken without it")
        log = ()
    imported = tuple(replace(d, rater_kind="imported") if d.rater_kind == "human" else d for d in kept.values())
    return replace(found, decisions=imported, log=log), warnings


def read_set_text(text: str) -> ExportedSet:
    """A decision set from JSON or CSV as it stands there; ArtifactError for anything else."""
    return _parse_json(text) if text.lstrip().startswith("{") else _parse_csv(text)


def check_set(found: ExportedSet, *, n_latents: int, sae_fingerprint: str) -> None:
    """ArtifactError for a set of another SAE, latents that this one does not have, or unknown decisions."""
    if found.sae_fingerprint != sae_fingerprint:
        raise ArtifactError(
            f"the set was made on SAE '{found.sae}' ({found.sae_fingerprint or 'no fingerprint'}), this one is "
            f"{sae_fingerprint}; choose that SAE first"
        )
    marks = [(d.latent, d.decision, DECISIONS) for d in found.decisions]
    for latent, mark, known in (*marks, *((s.latent, s.new, (*DECISIONS, TAKEN_BACK)) for s in found.log)):
        if latent >= n_latents:
            raise ArtifactError(f"latent {latent} does not exist: this SAE has {n_latents} latents; check the file")
        if mark not in known:
            raise ArtifactError(f"latent {latent} is marked '{mark[:40]}'; expected one of {', '.join(known)}")


def _parse_json(text: str) -> ExportedSet:
    try:
        content = parse_json(text)
    except NotJson as error:
        raise ArtifactError(f"the file is not valid JSON ({error}); give a set exported by this tool") from None
    if not isinstance(content, dict):
        raise ArtifactError("the file holds no object; give a set exported by this tool")
    if content.get("kind") != SET_KIND or content.get("schema") != SET_SCHEMA:
        raise ArtifactError(
            f"found kind '{content.get('kind')}', schema {content.get('schema')}; expected a set of schema {SET_SCHEMA}"
        )
    log = tuple(_logged(step) for step in _rows(content, "log")) if content.get("log") is not None else ()
    return replace(_built(content, _rows(content, "decisions"), _text), log=log)


def _rows(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = content.get(name)
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise ArtifactError(f"the file has no list '{name}' of objects; give a set exported by this tool")
    return rows


def _logged(step: Mapping[str, Any]) -> LoggedDecision:
    texts = {name: _text(step.get(name)) for name in ("new", "of", "old", "who", "at", "reason")}
    numbers = {name: None if step.get(name) is None else _whole(step[name], name) for name in ("id", "undoes")}
    return LoggedDecision(latent=_whole(step.get("latent"), "latent"), **texts, **numbers)


def _end(log: Iterable[LoggedDecision]) -> dict[tuple[str, int], str]:
    """(class, latent) -> decision that a log leaves."""
    last = {(step.of, step.latent): step.new for step in log}
    return {key: new for key, new in last.items() if new != TAKEN_BACK}


def _parse_csv(text: str) -> ExportedSet:
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise ArtifactError(f"the file is not valid CSV ({error}); give a set exported by this tool") from None
    if not rows or not {"latent", "decision", "sae_fingerprint"} <= set(rows[0]):
        raise ArtifactError("columns latent, decision and sae_fingerprint are needed; give a set exported by this tool")
    return _built(rows[0], rows, read_cell)


def _built(
    identity: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], read: Callable[[object], str]
) -> ExportedSet:
    """``read``: the text of a value of the file."""
    decisions = []
    for row in rows:
        texts = {k: read(row.get(k)) for k in _SET_COLUMNS if k not in ("latent", "rater_kind")}
        kind = read(row.get("rater_kind")) or "imported"
        decisions.append(ExportedDecision(latent=_whole(row.get("latent"), "latent"), rater_kind=kind, **texts))
    about = [read(identity.get(k)) for k in _IDENTITY]
    return ExportedSet(*about, tuple(decisions), read(identity.get("owner")), _number(identity.get("dev_looks")))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _whole(value: object, name: str) -> int:
    number = _number(value)
    if number is None:
        raise ArtifactError(f"{name} '{_text(value)[:40]}' is no whole number from 0; check the file")
    return number


def _number(value: object) -> int | None:
    """None for anything that is no whole number from 0."""
    text = _text(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
