"""Options that several commands share, each defined once; a command's own options are defined with it."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from saeeval_core.config import DEFAULT_NS, PRECISION
from saeeval_core.errors import ConfigError
from saeeval_core.saes.named import named_saes, one_sae
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.texts.choices import TaskLabels

DEFAULT_HOOK = "blocks.15.hook_resid_post"
DEFAULT_N = ",".join(map(str, DEFAULT_NS))

# What is scored.
Model = Annotated[str, typer.Option("--model", help="Bundled name, local folder or Hub id.")]
_SAE = "Bundled name, local folder or file (.npz, .safetensors, ae.pt), SAELens release/id or hub:REPO."
Sae = Annotated[str, typer.Option("--sae", help=_SAE, callback=lambda name: one_sae(name))]
Saes = Annotated[
    list[str],
    typer.Option(
        "--sae",
        help=f"{_SAE} Repeatable; a glob such as 'RELEASE/*' or a folder of SAEs names them all.",
        callback=lambda names: named_saes(names),
    ),
]
_TASK = "bios, reviews, news, bias_in_bios, amazon, ag_news or own:NAME; :PAIR keeps one SHIFT pair."
Task = Annotated[str, typer.Option("--task", help=_TASK)]
Tasks = Annotated[list[str], typer.Option("--task", help=f"{_TASK} Repeatable.")]
Texts = Annotated[str, typer.Option("--texts", help="CSV, TSV, JSONL, JSON or Parquet file of your own, or hub:REPO.")]
TextColumn = Annotated[str, typer.Option("--text-column", help="Column of --texts that holds the text.")]
_QUOTES = 'Names with commas, = or outer spaces in double quotes: \'"my, column"="a, b",c\'.'
Target = Annotated[str, typer.Option("--target", help=f"COLUMN=POSITIVE,NEGATIVE: the label to keep. {_QUOTES}")]
Spurious = Annotated[
    str, typer.Option("--spurious", help="COLUMN=POSITIVE,NEGATIVE: the cue to remove; quotes as there.")
]
Classes = Annotated[str, typer.Option("--classes", help="COLUMN=A,B,C: the classes of TPP; quotes as there.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help='JSON file in place of the three: {"target": {"column", "positive", "negative"}, "spurious": {...}, '
        '"classes": {"column", "values": [...]}}.',
    ),
]
Encoding = Annotated[
    str, typer.Option("--encoding", help="Of the file, such as cp1252 or latin-1; UTF-8 and marked files need none.")
]
Delimiter = Annotated[
    str, typer.Option("--delimiter", help="Of the file: one character or tab; needed only where several fit.")
]
GroupColumn = Annotated[str, typer.Option("--group-column", help="Texts of one group stay in one part.")]

# How it is scored.
Metrics = Annotated[str, typer.Option("--metrics", help="shift,tpp")]
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
Rivals = Annotated[
    bool,
    typer.Option("--rivals", help="Add ICA, bases of general text and the labels' own directions (a minute, once)."),
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

WritesHook = Annotated[
    str, typer.Option("--hook", help="Hook that a dictionary writes (and reads) whose own files name none.")
]
ReadHook = Annotated[str, typer.Option("--read-hook", help="Hook that it reads, where that is not the one of --hook.")]
PlanOnly = Annotated[
    bool,
    typer.Option(
        "--plan", help="Only say what it would take: passes, tokens, seconds, memory and disk; nothing is loaded."
    ),
]

# Training an SAE.
Corpus = Annotated[Path, typer.Option("--corpus", help="Parquet or JSONL with a text column, or a .txt of paragraphs.")]
Hook = Annotated[
    str, typer.Option("--hook", help="Hook to train on, such as blocks.6.hook_resid_post or blocks.6.attn.hook_z.")
]
Tokens = Annotated[int, typer.Option("--tokens", help="Distinct tokens of activations to cache.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder for cached activations.")]
FreezeDecoder = Annotated[
    bool,
    typer.Option("--freeze-decoder", help="Keep the random decoder and train the rest: a control, the trained null."),
]

# The machine, and what is written.
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help=PRECISION)]
Kernel = Annotated[
    str,
    typer.Option(
        "--kernel",
        help="Of a pass that is made, for float32 on a CPU: default (torch's own), onednn (weights packed once) or auto, "
        "the faster one here, measured once and kept. They differ by rounding; results name it.",
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the full result here as JSON.")]


@dataclass(frozen=True)
class TextOptions:
    """The options for texts of one's own, as ``with_texts`` adds them to a command."""

    texts: Texts = ""
    text_column: TextColumn = "text"
    target: Target = ""
    spurious: Spurious = ""
    classes: Classes = ""
    labels: Labels = None
    group_column: GroupColumn = ""
    encoding: Encoding = ""
    delimiter: Delimiter = ""

    def settings(self, task: str) -> dict[str, str]:
        """Values of ``RunConfig`` for these texts, or for the task where there are none.

        ConfigError for labels given twice, DataError for a file of labels that is none.
        """
        given = [f"--{f.name.replace('_', '-')}" for f in fields(self) if getattr(self, f.name) != f.default]
        if given and not self.texts:
            raise ConfigError(f"{', '.join(given)} go with --texts FILE, not with a named task")
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "labels"}
        if self.labels is not None:
            if self.target or self.spurious or self.classes:
                raise ConfigError("labels are given twice; use either --labels or --target, --spurious and --classes")
            found = read_labels(self.labels)
            pairs = {"target": found.target, "spurious": found.spurious, "classes": found.classes}
            chosen |= {name: "" if choice is None else str(choice) for name, choice in pairs.items()}
        return chosen | {"task": "" if self.texts else task}


def read_labels(path: Path) -> TaskLabels:
    """The labels in a JSON file. ConfigError if it is no JSON, DataError if it holds something else."""
    try:
        return TaskLabels.from_json(parse_json(path.read_bytes()))
    except NotJson as error:
        raise ConfigError(f"'{path}' is not JSON ({error}); see --labels in saeeval run --help") from None


def with_texts(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of TextOptions, and of other dataclasses, in place of the parameters of these types."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    groups = {n: hints[n] for n in own if is_dataclass(hints[n])}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = []
    for n, p in own.items():
        if n in groups:
            added = get_type_hints(groups[n], include_extras=True)
            parameters += [
                inspect.Parameter(f.name, keyword, default=_default(f), annotation=added[f.name])
                for f in fields(groups[n])
            ]
        else:
            parameters.append(p.replace(kind=keyword, annotation=hints[n]))

    @wraps(command)
    def called(**values: Any) -> None:
        made = {n: kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for n, kind in groups.items()}
        command(**made, **values)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default


def words(text: str) -> tuple[str, ...]:
    """The values of an option that takes several, separated by commas; blanks and empty values are dropped."""
    return tuple(w.strip() for w in text.split(",") if w.strip())


def numbers(text: str, option: str) -> tuple[int, ...]:
    """The same as whole numbers; ConfigError names the option."""
    try:
        return tuple(int(w) for w in words(text))
    except ValueError:
        raise ConfigError(f"{option} is '{text}'; give whole numbers such as 1,2,5,10") from None
