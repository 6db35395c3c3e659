"""Options that several commands share, each defined once; a command's own options are defined with it."""

from pathlib import Path
from typing import Annotated

import typer

from saeeval_core.config import DEFAULT_NS
from saeeval_core.errors import ConfigError

DEFAULT_HOOK = "blocks.15.hook_resid_post"
DEFAULT_N = ",".join(map(str, DEFAULT_NS))

# What is scored.
Model = Annotated[str, typer.Option("--model", help="Bundled name, local folder or Hub id.")]
_SAE = "Bundled name, local folder, SAELens release/id or hub:REPO."
Sae = Annotated[str, typer.Option("--sae", help=_SAE)]
Saes = Annotated[list[str], typer.Option("--sae", help=f"{_SAE} Repeatable.")]
_TASK = "bios, reviews, news, bias_in_bios, amazon or ag_news; :PAIR keeps one SHIFT pair."
Task = Annotated[str, typer.Option("--task", help=_TASK)]
Tasks = Annotated[list[str], typer.Option("--task", help=f"{_TASK} Repeatable.")]
Texts = Annotated[str, typer.Option("--texts", help="CSV, Parquet or JSONL file of your own, or hub:REPO.")]
TextColumn = Annotated[str, typer.Option("--text-column", help="Column of --texts that holds the text.")]
_QUOTES = 'Names with commas, = or outer spaces in double quotes: \'"my, column"="a, b",c\'.'
Target = Annotated[str, typer.Option("--target", help=f"COLUMN=POSITIVE,NEGATIVE: the label to keep. {_QUOTES}")]
Spurious = Annotated[
    str, typer.Option("--spurious", help="COLUMN=POSITIVE,NEGATIVE: the cue to remove; quotes as there.")
]
Classes = Annotated[str, typer.Option("--classes", help="COLUMN=A,B,C: the classes of TPP; quotes as there.")]
GroupColumn = Annotated[str, typer.Option("--group-column", help="Texts of one group stay in one part.")]

# How it is scored.
Protocol = Annotated[str, typer.Option("--protocol", help="robust, saebench or paper.")]
Protocols = Annotated[str, typer.Option("--protocol", help="robust,saebench,paper")]
Ns = Annotated[str, typer.Option("--n", help="Numbers of latents to ablate, separated by commas.")]
TextsPerCell = Annotated[
    int, typer.Option("--texts-per-cell", help="Most texts drawn per quadrant or class, of bundled tasks too.")
]
Rater = Annotated[str, typer.Option("--rater", help="Rater whose verdicts the judged selections use.")]
Threshold = Annotated[
    int, typer.Option("--threshold", help="Related means a rating of at least this: 1 (the paper) or 2.")
]
Controls = Annotated[
    bool,
    typer.Option(help="Score controls too: random latents, random and permuted decoders, PCA, residual basis, LEACE."),
]
Deletion = Annotated[
    bool, typer.Option("--deletion", help="Add the word-deletion control of SHIFT (needs another pass).")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random, such as texts drawn and parts.")]

ProbeHook = Annotated[
    str,
    typer.Option(
        "--probe-hook",
        help="Hook where probes read; default: the first where ablation is exact (saebench: where the SAE writes).",
    ),
]

# Training an SAE.
Corpus = Annotated[Path, typer.Option("--corpus", help="Parquet or JSONL with a text column, or a .txt of paragraphs.")]
Hook = Annotated[
    str, typer.Option("--hook", help="Hook to train on, such as blocks.6.hook_resid_post or blocks.6.attn.hook_z.")
]
Tokens = Annotated[int, typer.Option("--tokens", help="Distinct tokens of activations to cache.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder for cached activations.")]

# The machine, and what is written.
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or bfloat16, for the language model.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the full result here as JSON.")]


def words(text: str) -> tuple[str, ...]:
    """The values of an option that takes several, separated by commas; blanks and empty values are dropped."""
    return tuple(w.strip() for w in text.split(",") if w.strip())


def numbers(text: str, option: str) -> tuple[int, ...]:
    """The same as whole numbers; ConfigError names the option."""
    try:
        return tuple(int(w) for w in words(text))
    except ValueError:
        raise ConfigError(f"{option} is '{text}'; give whole numbers such as 1,2,5,10") from None
