"""``saeeval hold`` and ``saeeval steer``: one set of latents in the running model, here or anywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saeeval_core.cli import chosen_set as c
from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, recording_bar, write_json
from saeeval_core.config import AUTO_PROBE, DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, RunConfig
from saeeval_core.errors import DataError

if TYPE_CHECKING:
    from saeeval_core.evaluation.prepare import Prepared
    from saeeval_core.holding.follow import AskedSet, Held
    from saeeval_core.models.language_model import LanguageModel


@o.with_texts
def hold(
    chosen: c.Set,
    who: c.Who = "",
    direction: c.DirectionName = "",
    model: o.Model = DEFAULT_MODEL,
    sae: o.Sae = DEFAULT_SAE,
    task: o.Task = DEFAULT_TASK,
    own: o.TextOptions = o.TextOptions(),
    protocol: o.Protocol = "robust",
    seed: o.Seed = 0,
    texts_per_cell: o.TextsPerCell = 1500,
    probe_hook: o.ProbeHook = AUTO_PROBE,
    ablation: c.Ablation = "mean",
    part: Annotated[str, typer.Option("--part", help="dev while choosing, test once the set is committed.")] = "test",
    hook: Annotated[
        list[str],
        typer.Option("--hook", help="Hook to read; repeatable. Default: the probe's own and four later ones."),
    ] = [],
    damage: Annotated[bool, typer.Option(help="Also measure change of loss and KL on general text.")] = True,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    json_path: o.Json = None,
) -> None:
    """Does it hold? Ablate one set in the running model and read the concept at later layers: minutes of work."""
    from saeeval_core.evaluation.prepare import prepare

    config = RunConfig(
        model=model,
        saes=(sae,),
        **own.settings(task),
        metrics=("shift",),
        protocol=protocol,
        seed=seed,
        texts_per_cell=texts_per_cell,
        device=device,
        dtype=dtype,
        probe_hook=probe_hook,
    )
    with recording_bar() as on_progress:
        prepared = prepare(config, on_progress=on_progress)
    asked = c.asked_set(prepared, c.WantedSet(chosen, who, direction), ablation, part)
    held = _held(prepared, asked, tuple(hook), damage=damage)
    write_json(json_path, held.to_json())
    _print(held)


@o.with_texts
def steer(
    chosen: c.Set,
    out: Annotated[Path, typer.Option("--out", help="Folder for steering_hook.py and set.safetensors.")],
    who: c.Who = "",
    direction: c.DirectionName = "",
    model: o.Model = DEFAULT_MODEL,
    sae: o.Sae = DEFAULT_SAE,
    task: o.Task = DEFAULT_TASK,
    own: o.TextOptions = o.TextOptions(),
    protocol: o.Protocol = "robust",
    seed: o.Seed = 0,
    probe_hook: o.ProbeHook = AUTO_PROBE,
    ablation: c.Ablation = "mean",
    json_path: o.Json = None,
) -> None:
    """Export one set as a steering hook for transformers and TransformerLens: a Python file and the set's vectors."""
    from saeeval_core.evaluation.prepare import prepare
    from saeeval_core.holding.export import export_hook
    from saeeval_core.holding.follow import edit_of
    from saeeval_core.models.language_model import load_model
    from saeeval_core.saes.loaded import load_sae

    config = RunConfig(
        model=model,
        saes=(sae,),
        **own.settings(task),
        metrics=("shift",),
        protocol=protocol,
        seed=seed,
        probe_hook=probe_hook,
    )
    with recording_bar() as on_progress:
        prepared = prepare(config, on_progress=on_progress)
    asked = c.asked_set(prepared, c.WantedSet(chosen, who, direction), ablation, "test")
    language_model = load_model(model)
    loaded = load_sae(sae, device=language_model.device)
    edit = edit_of(language_model, loaded, prepared.evaluation, prepared.saes[0], asked)
    about = {"model": language_model.name, "sae": loaded.info.id, "ablation": ablation, "pair": asked.direction.name}
    made = export_hook(language_model, edit, out, about)
    write_json(json_path, about | {"latents": list(asked.ids), "files": [p.name for p in made]})
    console.print(
        f"{', '.join(map(str, made))}: {len(asked.ids)} latents; {made[-1].name} says how to use them", markup=False
    )


def _held(prepared: "Prepared", asked: "AskedSet", hooks: tuple[str, ...], *, damage: bool) -> "Held":
    """The stored result of the same question, or else a new one, which is stored."""
    from saeeval_core.holding.ablated_pass import later_hooks
    from saeeval_core.holding.follow import DAMAGE_TEXTS, hold, hold_key, keep_hold, kept_hold
    from saeeval_core.models.language_model import load_model
    from saeeval_core.saes.loaded import load_sae
    from saeeval_core.texts.news import general_texts

    config, latents = prepared.config, prepared.saes[0]
    general = None
    if damage:
        try:
            general = general_texts(DAMAGE_TEXTS)
        except DataError as error:
            console.print(f"change of loss is not measured: {error}", style="yellow", markup=False)
    language_model: LanguageModel | None = None
    if not hooks:
        language_model = load_model(config.model, device=config.device, dtype=config.dtype)
        hooks = tuple(later_hooks(language_model, prepared.residuals.key.hook))
    key = hold_key(prepared.evaluation, latents, asked, hooks, general.fingerprint if general else "")
    if (kept := kept_hold(key)) is not None:
        return kept
    language_model = language_model or load_model(config.model, device=config.device, dtype=config.dtype)
    loaded = load_sae(config.saes[0], device=language_model.device)
    with recording_bar() as on_progress:
        held = hold(
            language_model, loaded, prepared.evaluation, latents, asked, hooks, general=general, on_progress=on_progress
        )
    keep_hold(key, held)
    return held


def _print(held: "Held") -> None:
    from saeeval_core.scores.uncertainty import say

    console.print(
        f"{held.sae}: {held.n_ablated} latents, {held.ablation} ablation, {held.pair}, {held.direction}, {held.part}; "
        f"S at the probe {say(held.exact)}",
        markup=False,
    )
    table = Table("hook", "C_b", "C_b, ablated", "oracle", "S", "still readable (R)", box=None, header_style="bold")
    for at in held.hooks:
        fresh = "not measured" if at.recoverability is None else say(at.recoverability)
        table.add_row(
            at.hook, f"{at.base.value:.3f}", f"{at.accuracy.value:.3f}", f"{at.oracle.value:.3f}", say(at.score), fresh
        )
    console.print(table)
    if held.damage is not None:
        d = held.damage
        console.print(
            f"On {d.texts} ({d.tokens:,} tokens): loss {d.loss:.3f} {d.loss_change:+.4f} nats per token, KL {d.kl:.4f}",
            markup=False,
        )
