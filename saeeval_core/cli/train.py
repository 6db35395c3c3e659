"""``saeeval train-sae``, ``saeeval suite`` and ``saeeval build-bundle``: make SAEs, and what is shipped with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saeeval_core.cli import options as o
from saeeval_core.cli.console import bar, console, write_json
from saeeval_core.config import DEFAULT_MODEL, cache_dir

if TYPE_CHECKING:
    from saeeval_core.training.cache import ActivationCache


def train_sae(
    corpus: o.Corpus,
    out: Annotated[Path, typer.Option(help="Folder to write the SAE to.")],
    model: o.Model = DEFAULT_MODEL,
    hook: o.Hook = o.DEFAULT_HOOK,
    architecture: Annotated[
        str, typer.Option(help="topk, standard, jumprelu, jumprelu-tanh, gated, batchtopk or matryoshka.")
    ] = "topk",
    latents: Annotated[int, typer.Option(help="Width of the SAE.")] = 4096,
    l0: Annotated[float, typer.Option(help="Active latents per token (TopK family, JumpReLU).")] = 50,
    l1: Annotated[float, typer.Option(help="Sparsity penalty (Standard, Gated).")] = 2.0,
    tokens: o.Tokens = 2_000_000,
    samples: Annotated[int, typer.Option(help="Training samples, with repetition.")] = 4_000_000,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    freeze_decoder: o.FreezeDecoder = False,
    seed: o.Seed = 0,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "bfloat16",
    json_path: o.Json = None,
) -> None:
    """Train an SAE for a model that has none, on activations cached on disk. Resumes when run again."""
    from saeeval_core.training.trainer import TrainingConfig
    from saeeval_core.training.trainer import train_sae as train

    settings = {"lr": lr, "seed": seed, "autocast": True, "frozen_decoder": freeze_decoder}
    config = TrainingConfig(architecture, latents, l0, l1, samples, **settings)
    cached = _activations(corpus, model, hook, cache, tokens=tokens, seed=seed, device=device, dtype=dtype)
    about = train(cached, config, out, corpus=corpus.name)
    write_json(json_path, about.to_dict())
    console.print(
        f"{out}: {about.architecture}, L0 {about.l0:.1f}, explained variance {about.explained_variance:.3f}, "
        f"dead {about.dead:.1%}; use it with: saeeval run --model {model} --sae {out}"
    )


def suite(
    corpus: o.Corpus,
    out: Annotated[Path, typer.Option(help="Folder for the SAE folders, one per run and checkpoint.")],
    architectures: Annotated[
        str, typer.Option(help="topk,batchtopk,standard,jumprelu-tanh,matryoshka; several runs may share --out.")
    ] = "topk,standard,jumprelu-tanh,matryoshka",
    latents: Annotated[int, typer.Option(help="Width of every SAE.")] = 2048,
    samples: Annotated[int, typer.Option(help="Training samples of each run, with repetition.")] = 3_000_000,
    checkpoints: Annotated[int, typer.Option(help="Kept states of each run, the untrained one included.")] = 4,
    seeds: Annotated[str, typer.Option(help="The first keeps every checkpoint, the others the last.")] = "0",
    freeze_decoder: o.FreezeDecoder = False,
    model: o.Model = DEFAULT_MODEL,
    hook: o.Hook = o.DEFAULT_HOOK,
    tokens: o.Tokens = 2_000_000,
    cache: o.Cache = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "bfloat16",
    json_path: o.Json = None,
) -> None:
    """Train architectures x three sparsities x checkpoints, for saeeval sweep --suite. Resumes when run again."""
    from saeeval_core.training.about import read_about
    from saeeval_core.training.suite import SuiteConfig, train_suite

    config = SuiteConfig(
        o.words(architectures),
        latents,
        samples,
        checkpoints,
        o.numbers(seeds, "--seeds"),
        frozen_decoder=freeze_decoder,
    )
    cached = _activations(corpus, model, hook, cache, tokens=tokens, seed=0, device=device, dtype=dtype)
    with bar("training") as advance:
        folders = train_suite(cached, out, config, progress=lambda what, done, total: advance(done, total, what))
    made = {f.name: about for f in folders if (about := read_about(f)) is not None}
    write_json(json_path, [a.to_dict() | {"sae": name} for name, a in made.items()])
    table = Table("SAE", "samples", "L0", "expl. var.", "dead", box=None, header_style="bold")
    for name, a in made.items():
        figures = f"{a.l0:.1f}", f"{a.explained_variance_typical:.3f}", f"{a.dead:.1%}"
        table.add_row(name, f"{a.training_samples:,}", *figures)
    console.print(table)


def build_bundle(
    corpus: Annotated[Path | None, typer.Option(help="Corpus to train the SAEs on (step saes).")] = None,
    step: Annotated[
        list[str],
        typer.Option(
            "--step", help="texts, saes, recordings, tokens, probes, controls, verdicts or manifest; default all."
        ),
    ] = [],
) -> None:
    """Remake everything in assets/; each step can be run alone and resumes."""
    from saeeval_core.bundle import build

    build(step, corpus, say=console.print)


def _activations(
    corpus: Path, model: str, hook: str, folder: Path | None, *, tokens: int, seed: int, device: str, dtype: str
) -> "ActivationCache":
    """The model's activations on the corpus, with progress; what was cached before is not computed again."""
    from saeeval_core.models.language_model import load_model
    from saeeval_core.training.cache import cache_activations, read_corpus

    passages = read_corpus(corpus)
    language_model = load_model(model, device=device, dtype=dtype)
    with bar("caching activations") as advance:
        return cache_activations(
            language_model,
            hook,
            passages,
            folder or cache_dir() / "activations",
            max_tokens=tokens,
            seed=seed,
            progress=lambda _, done, total: advance(done, total),
        )
