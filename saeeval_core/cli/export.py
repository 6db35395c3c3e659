"""``saeeval export``: a decision set, and own explanations, in the forms of Neuronpedia."""

import json
from pathlib import Path
from typing import Annotated

import typer

from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, finish
from saeeval_core.config import DEFAULT_SAE
from saeeval_core.errors import ConfigError
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.wording import plural


def export(
    chosen: Annotated[
        str, typer.Argument(metavar="SET", help="Number of the set, or its name where that is no other's.")
    ],
    neuronpedia: Annotated[
        bool, typer.Option("--neuronpedia", help="As a list of Neuronpedia; nothing is sent without --send.")
    ] = False,
    sae: o.Sae = DEFAULT_SAE,
    place: Annotated[
        str, typer.Option("--id", help="MODEL/LAYER-SAE there, such as gpt2-small/0-res-jb; default: the SAE's own.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write the list here, as JSON.")] = None,
    explanations: Annotated[
        Path | None, typer.Option(help="Write own explanations of all latents here, as JSON lines.")
    ] = None,
    test_text: Annotated[str, typer.Option(help="A text on which the list shows its latents.")] = "",
    send: Annotated[bool, typer.Option("--send", help="Make the list there, with NEURONPEDIA_API_KEY.")] = False,
    json_path: o.Json = None,
) -> None:
    """Take a decision set out as a list of Neuronpedia: what would be sent, unless --send is given."""
    from saeeval_core.formats import neuronpedia as n
    from saeeval_core.ledger.commit_set import named_set
    from saeeval_core.ledger.store import Store
    from saeeval_core.recordings.known_saes import identify

    if not neuronpedia:
        raise ConfigError("saeeval export needs --neuronpedia; sets as files are taken out in the dashboard")
    store, known = Store(), identify(sae)
    found = named_set(store, chosen, "")
    if found.sae_fingerprint != known.fingerprint:
        raise ConfigError(f"set {found.id} ('{found.name}') is about another SAE than {known.id}; give its --sae")
    at = place or known.neuronpedia_id or ""
    verdicts = store.verdicts(known.fingerprint)
    ids = store.ablated(found.id, known.n_latents)
    made = n.list_of(found, ids, n.best_explanations(verdicts), at, test_text=test_text)
    if out is not None:
        write_atomic(out, (made.to_json() + "\n").encode())
    if explanations is not None:
        rows = n.explanations_of(verdicts, at)
        write_atomic(explanations, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode())
    url = n.send(made) if send else ""
    what = "made there" if send else "not sent: --send makes it there"
    console.print(f"list '{made.name}' of {plural(len(ids), 'latent')} at {at}: {what} {url}".rstrip(), markup=False)
    finish(json_path, {"list": json.loads(made.to_json()), "sent": send, "url": url or None})
