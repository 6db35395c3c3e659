"""``saeeval commit``: score a decision set on the test texts once, and store the result with it."""

from typing import Annotated

import typer

from saeeval_core.cli import chosen_set as c
from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, finish, recording_bar
from saeeval_core.errors import ConfigError, unknown_name


@o.with_texts
def commit(
    chosen: Annotated[
        str, typer.Argument(metavar="SET", help="Number of the set, or its name where that is no other's.")
    ],
    who: Annotated[str, typer.Option("--who", help="Your name, stored with the commit.")],
    one: c.OneSae,
    own: o.TextOptions,
    ablation: c.Ablation = "mean",
    n: c.N = 20,
    json_path: o.Json = None,
) -> None:
    """Score a decision set on the test texts once and store the result; the dashboard shows the commit too."""
    from saeeval_core.evaluation.prepare import prepare
    from saeeval_core.ledger.commit_set import commit_set, named_set
    from saeeval_core.ledger.store import Store
    from saeeval_core.scores.ablation import ABLATIONS
    from saeeval_core.scores.uncertainty import say

    if ablation not in ABLATIONS:
        raise ConfigError(unknown_name("ablation", ablation, ABLATIONS))
    store = Store()
    found = named_set(store, chosen, who)
    config = one.config(own, found.metric)
    with recording_bar() as on_progress:
        prepared = prepare(config, on_progress=on_progress)
    made = commit_set(store, prepared.evaluation, prepared.saes[0], found, who, ablation=ablation, n=n)
    console.print(
        f"{found.name} ({found.who}), committed by {who} on {made.settings.part}: {say(made.score)}", markup=False
    )
    console.print(f"  {made.gone}", markup=False)
    finish(json_path, dict(made.to_json()))
