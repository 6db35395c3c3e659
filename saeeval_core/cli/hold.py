"""``saeeval hold`` and ``saeeval steer``: one set of latents in the running model, here or anywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saeeval_core.cli import chosen_set as c
from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, print_wide, recording_bar, write_json
from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError
from saeeval_core.wording import plural

if TYPE_CHECKING:
    from saeeval_core.evaluation.prepare import Prepared
    from saeeval_core.holding.ablated_pass import SetEdit
    from saeeval_core.holding.asked import Asked
    from saeeval_core.holding.held import Damage, Held, HeldClasses
    from saeeval_core.models.language_model import LanguageModel


@o.with_texts
def hold(
    wanted: c.WantedSet,
    one: c.OneSae,
    own: o.TextOptions,
    texts_per_cell: o.TextsPerCell = 1500,
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
    from saeeval_core.holding.held import Held

    config = one.config(own, wanted.metric_of_set(), texts_per_cell=texts_per_cell, device=device, dtype=dtype)
    prepared = _prepared(config)
    held = _held(prepared, _asked(prepared, wanted, ablation, part), tuple(hook), damage=damage)
    write_json(json_path, held.to_json())
    if isinstance(held, Held):
        _print_set(held)
    else:
        _print_classes(held)


@o.with_texts
def steer(
    wanted: c.WantedSet,
    one: c.OneSae,
    own: o.TextOptions,
    out: Annotated[Path, typer.Option("--out", help="Folder for steering_hook.py and set.safetensors.")],
    ablation: c.Ablation = "mean",
    json_path: o.Json = None,
) -> None:
    """Export one set as a steering hook for transformers and TransformerLens: a Python file and the set's vectors."""
    from saeeval_core.holding.export import export_hook
    from saeeval_core.models.language_model import load_model

    prepared = _prepared(one.config(own, wanted.metric_of_set()))
    asked = _asked(prepared, wanted, ablation, "test")
    model = load_model(one.model)
    name, edit = _one_edit(prepared, asked, model)
    about = {"model": model.name, "sae": edit.place.sae.info.id, "ablation": ablation, "pair": name}
    made = export_hook(model, edit, out, about)
    write_json(json_path, about | {"latents": list(edit.ids), "files": [p.name for p in made]})
    console.print(
        f"{', '.join(map(str, made))}: {plural(len(edit.ids), 'latent')}; {made[-1].name} says how to use them",
        markup=False,
    )


def _prepared(config: RunConfig) -> "Prepared":
    from saeeval_core.evaluation.prepare import prepare

    with recording_bar() as on_progress:
        return prepare(config, on_progress=on_progress)


def _asked(prepared: "Prepared", wanted: c.WantedSet, ablation: str, part: str) -> "Asked":
    find = c.asked_set if prepared.config.metrics == ("shift",) else c.asked_classes
    return find(prepared, wanted, ablation, part)


def _one_edit(prepared: "Prepared", asked: "Asked", model: "LanguageModel") -> "tuple[str, SetEdit]":
    """(what the set is about, its ablation). ConfigError for the sets of several classes."""
    from saeeval_core.holding.asked import AskedSet
    from saeeval_core.holding.follow import edit_of
    from saeeval_core.holding.follow_classes import edits_of
    from saeeval_core.saes.loaded import load_sae

    args = model, load_sae(prepared.config.saes[0], device=model.device), prepared.evaluation, prepared.saes[0]
    if isinstance(asked, AskedSet):
        return asked.direction.name, edit_of(*args, asked)
    edits, classes = edits_of(*args, asked), prepared.evaluation.tpp_task.classes
    if len(edits) > 1:
        raise ConfigError(f"a hook ablates one set; choose one with --class: {', '.join(classes[i] for i in edits)}")
    ((i, edit),) = edits.items()
    return classes[i], edit


def _held(prepared: "Prepared", asked: "Asked", hooks: tuple[str, ...], *, damage: bool) -> "Held | HeldClasses":
    """The stored result of the same question, or else a new one, which is stored."""
    from saeeval_core.holding.kept import damage_texts, default_hooks, followed

    general, why_not = damage_texts() if damage else (None, "")
    if why_not:
        console.print(f"change of loss is not measured: {why_not}", style="yellow", markup=False)
    hooks = hooks or default_hooks(prepared.config.model, prepared.residuals.key.hook)
    args = prepared.config, prepared.evaluation, prepared.saes[0], asked, hooks
    with recording_bar() as on_progress:
        return followed(*args, general=general, on_progress=on_progress)


def _print_set(held: "Held") -> None:
    from saeeval_core.scores.uncertainty import say

    console.print(
        f"{held.sae}: {plural(len(held.latents), 'latent')}, {held.ablation} ablation, {held.pair}, {held.direction}, {held.part}; "
        f"S at the probe {say(held.exact)}",
        markup=False,
    )
    names = "hook", "C_b", "C_b, ablated", "oracle", "S", "still readable (R)", "R of the target", "E"
    table = Table(*names, box=None, header_style="bold")
    for at in held.hooks:
        accuracies = f"{at.base.value:.3f}", f"{at.accuracy.value:.3f}", f"{at.oracle.value:.3f}"
        fresh = at.recoverability, at.recoverability_target, at.selective_erasure
        table.add_row(at.hook, *accuracies, say(at.score), *map(say, fresh))
    print_wide(table)
    if held.damage is not None:
        _print_damage(held.damage)


def _print_classes(held: "HeldClasses") -> None:
    from saeeval_core.scores.uncertainty import say

    console.print(
        f"{held.sae}: {held.ablation} ablation, {held.task}, {held.part}; TPP at the probes {say(held.exact)}",
        markup=False,
    )
    names = "hook", "class", "latents", "its probe loses", "others lose", "still readable (R)", "R of the others"
    table = Table(*names, box=None, header_style="bold")
    for at in held.hooks:
        for own in at.classes:
            figures = own.own, own.others, own.recoverability, own.recoverability_others
            table.add_row(at.hook, own.name, str(held.n_ablated[own.name]), *map(say, figures))
    print_wide(table)
    for at in held.hooks:
        console.print(f"{at.hook}: TPP {say(at.score)}, of fresh probes {say(at.fresh_score)}", markup=False)
    for name, damage in held.damage.items():
        _print_damage(damage, f"{name}: ")


def _print_damage(d: "Damage", of: str = "") -> None:
    console.print(
        f"{of}On {d.texts} ({d.tokens:,} tokens): loss {d.loss:.3f} {d.loss_change:+.4f} nats per token, KL {d.kl:.4f}",
        markup=False,
    )
