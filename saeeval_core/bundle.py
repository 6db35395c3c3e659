"""Remake everything in assets/ (what works offline), in named steps that can be run alone and resumed.

Third-party text or weights never enter assets/: SAEs are trained here, texts are rendered from our own patterns, and
recordings hold numbers and references.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import DEFAULT_SAE, RunConfig, assets_dir, cache_dir
from saeeval_core.controls.attach import controls_name, controls_of
from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.evaluation.prepare import evaluation_of, prepare
from saeeval_core.recordings.obtain import Recordings, draw_of, obtain_recordings
from saeeval_core.recordings.recording import LatentRecording, save_latents
from saeeval_core.storage.manifest import MANIFEST, build_manifest
from saeeval_core.texts.news import general_texts
from saeeval_core.texts.sources import BUNDLED_TASKS, load_task_set
from saeeval_core.texts.tasks import TaskSet
from saeeval_core.training.about import ABOUT_FILE
from saeeval_core.training.cache import cache_activations, read_corpus
from saeeval_core.training.trainer import TrainingConfig, train_sae

HOOK = "blocks.15.hook_resid_post"
SAES = {
    DEFAULT_SAE: TrainingConfig("topk", target_l0=48, samples=3_000_000, checkpoints=3, autocast=True),
    "smollm2-135m-l15-standard-4k": TrainingConfig("standard", l1=3.0, samples=3_000_000, checkpoints=3, autocast=True),
    "smollm2-135m-l15-jumprelu-4k": TrainingConfig(
        "jumprelu-tanh", l1=0.2, samples=2_400_000, batch=1024, checkpoints=3, autocast=True
    ),
    "smollm2-135m-l15-matryoshka-4k": TrainingConfig(
        "matryoshka", target_l0=48, samples=2_400_000, batch=1024, checkpoints=3, autocast=True
    ),
}
"""What is trained, by bundled name."""
ACTIVATIONS = 1_340_000
"""Distinct tokens the bundled SAEs are trained on."""
RENDER_SEED = 1
PER_CELL = {"bios": 300, "reviews": 250}

Say = Callable[[str], None]


def build(steps: Sequence[str], corpus: Path | None, *, say: Say) -> None:
    """Run the named steps, or all of them in order, the manifest after each. ConfigError for an unknown step or a missing corpus."""
    known: dict[str, Callable[[], None]] = {
        "texts": lambda: build_texts(say),
        "saes": lambda: build_saes(corpus, say),
        "recordings": lambda: build_recordings(say),
        "tokens": lambda: build_tokens(say),
        "probes": lambda: build_probes(say),
        "controls": lambda: build_controls(say),
        "verdicts": lambda: build_shipped_verdicts(say),
        "manifest": lambda: None,  # written after every step
    }
    for step in steps:
        if step not in known:
            raise ConfigError(unknown_name("step", step, known))
    if corpus is not None and not corpus.is_file():
        raise ConfigError(f"there is no corpus at '{corpus}'; give a Parquet, JSONL or .txt file with --corpus")
    for step in steps or list(known):
        say(f"== {step}")
        known[step]()
        build_manifest()  # or the next step would refuse what this one made
    say(f"{MANIFEST} says what every shipped artifact must be")


def build_texts(say: Say) -> None:
    """Render the composed texts and write them with the accuracies of a bag-of-words baseline."""
    from saeeval_core.texts.composed import render
    from saeeval_core.texts.composed_report import text_report, write_parquet
    from saeeval_core.texts.stock import load_stock

    for name, per_cell in PER_CELL.items():
        stock = load_stock(assets_dir() / "texts" / f"{name}_stock.json")
        texts = render(stock, per_cell, RENDER_SEED)
        report = text_report(stock, texts, RENDER_SEED)
        write_parquet(stock, texts, assets_dir() / "texts" / f"{name}.parquet", RENDER_SEED, report)
        say(f"{name}: {len(texts)} texts")
        say(str(report))


def build_saes(corpus: Path | None, say: Say) -> None:
    """Train the bundled SAEs that are missing; a killed training resumes. ConfigError when a corpus is needed."""
    from saeeval_core.models.language_model import load_model

    missing = [name for name in SAES if not (assets_dir() / "saes" / name / ABOUT_FILE).exists()]
    if not missing:
        say("all bundled SAEs are there; delete a folder in assets/saes to train it again")
        return
    if corpus is None:
        raise ConfigError(f"training {', '.join(missing)} needs text: give --corpus FILE")
    model = load_model(RunConfig().model, dtype="bfloat16")
    cache = cache_activations(
        model,
        HOOK,
        read_corpus(corpus),
        cache_dir() / "activations",
        max_tokens=ACTIVATIONS,
        progress=lambda what, done, total: say(f"{what}: {done} of {total} tokens"),
    )
    for name in missing:
        about = train_sae(cache, SAES[name], assets_dir() / "saes" / name, corpus=f"{corpus.name}, not included")
        say(f"{name}: {json.dumps(about.to_dict())}")


def build_recordings(say: Say) -> None:
    """The default SAE on every bundled task and general text; the other SAEs on the default task, in the same pass."""
    others = [name for name in _there() if name != DEFAULT_SAE]
    for task in (*BUNDLED_TASKS, "general"):
        task_set = TaskSet(general_texts()) if task == "general" else load_task_set(task)
        saes = [DEFAULT_SAE, *others] if task == RunConfig().task else [DEFAULT_SAE]
        config = RunConfig(task=task, saes=tuple(saes))
        made = obtain_recordings(config, task_set, saes, shipped=False)
        ship(made, contexts_only=task == "general")
        say(f"{task}: {len(task_set.texts.texts)} texts, {', '.join(saes)}")


def build_tokens(say: Say) -> None:
    """Promoted and suppressed tokens of every latent, so that the dashboard never loads the language model."""
    from saeeval_core.evidence.tokens import make_token_table

    for name in _there():
        latents = obtain_recordings(RunConfig(), load_task_set(RunConfig().task), [name]).latents[0]
        make_token_table(latents, RunConfig().model, keep=False).save(assets_dir() / "saes" / name / "tokens")
        say(f"{name}: promoted and suppressed tokens")


def build_probes(say: Say) -> None:
    """Probes of every bundled task under the default protocol and seed; replaces the shipped ones."""
    for old in (assets_dir() / "recordings").glob("probes-*"):
        old.unlink()
    config = RunConfig()
    for task in BUNDLED_TASKS:
        own, task_set = replace(config, task=task), load_task_set(task)
        residuals = obtain_recordings(own, task_set, [DEFAULT_SAE]).residuals
        evaluation = evaluation_of(own, draw_of(own, task_set), residuals, shipped=False)
        _ = evaluation.directions, evaluation.tpp_probes  # fitted and kept
        for path in (cache_dir() / "recordings").glob("probes-*.json"):
            if json.loads(path.read_text()).get("residuals") == residuals.fingerprint:
                _copy(f"{path.stem}*")
        say(f"{task}: probes")


def build_controls(say: Say) -> None:
    """Controls of every shipped recording under the default protocol and seed; replaces the shipped ones."""
    for old in (assets_dir() / "recordings").glob("controls-*"):
        old.unlink()
    for name in _there():
        for task in _tasks(name):
            prepared = prepare(replace(RunConfig(), task=task, saes=(name,)))
            latents = prepared.saes[0]
            controls_of(prepared, latents)
            _copy(f"{controls_name(prepared, latents)}*")
            say(f"{task}, {name}: controls")


def build_shipped_verdicts(say: Say) -> None:
    """LocalJudge on every candidate latent of every recorded task; reference verdicts are kept."""
    from saeeval_core.judging.local import LocalJudge
    from saeeval_core.judging.shipped import build_verdicts

    judge = LocalJudge()
    for name in _there():
        path = build_verdicts(name, _tasks(name), say=say, judge=judge)
        say(f"{name}: {path.stat().st_size / 1e3:.0f} kB of verdicts")


def ship(made: Recordings, *, contexts_only: bool) -> None:
    """Put recordings into assets/; of general text only the contexts, because it is never scored."""
    folder = assets_dir() / "recordings"
    _copy(f"residuals-{made.residuals.fingerprint}*")
    for latents in made.latents:
        if contexts_only:
            save_latents(_without_pooled(latents), folder, storage=made.residuals.key.storage)
        else:
            _copy(f"latents-{latents.fingerprint}*")


def _there() -> list[str]:
    return [name for name in SAES if (assets_dir() / "saes" / name / ABOUT_FILE).exists()]


def _tasks(sae: str) -> tuple[str, ...]:
    """The tasks an SAE is recorded on."""
    return BUNDLED_TASKS if sae == DEFAULT_SAE else (RunConfig().task,)


def _without_pooled(latents: LatentRecording) -> LatentRecording:
    return replace(latents, latents=csc_array(latents.latents.shape, dtype=np.float32))


def _copy(pattern: str) -> None:
    target = assets_dir() / "recordings"
    target.mkdir(parents=True, exist_ok=True)
    for path in (cache_dir() / "recordings").glob(pattern):
        shutil.copy2(path, target / path.name)
