"""Score what a notebook holds, as ``saeeval run`` scores what has a name."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saeeval_core.config import AUTO_PROBE, DEFAULT_MODEL, DEFAULT_NS, DEFAULT_SAE, RunConfig, get_protocol
from saeeval_core.controls.attach import with_controls
from saeeval_core.door.objects import dictionary, language_model
from saeeval_core.door.result import Result
from saeeval_core.door.task import Task
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.prepare import Prepared, check_texts, prepared_with
from saeeval_core.evaluation.score import score as scored
from saeeval_core.recordings.obtain import Recordings, draw_of, obtain_from_objects, obtain_recordings, task_set_of
from saeeval_core.texts.tasks import TaskSet

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import OnProgress, Progress


def score(
    task: Task | str,
    model: Any = DEFAULT_MODEL,
    dictionaries: Any = DEFAULT_SAE,
    *,
    tokenizer: Any = None,
    protocol: str = "robust",
    ns: Sequence[int] | None = None,
    seed: int = 0,
    controls: bool = True,
    progress: bool = True,
) -> Result:
    """SHIFT and TPP of one or several dictionaries on a task, with intervals and controls.

    ``task``: as ``task`` makes it, or the name of a bundled or kept one ("bios", "own:jobs"). ``model`` and
    ``dictionaries`` (one, or a list): whatever ``language_model`` and ``dictionary`` take without further settings. ``ns``:
    numbers of latents to ablate; left out, the usual ones that every dictionary has.

    One pass over the texts is made and stored, so the same question is answered at once the next time, in any
    process. SaeEvalError, in one line, for whatever cannot be used.

    >>> import saeeval_core as se
    >>> jobs = se.task(frame, target={"profession": ["nurse", "surgeon"]}, spurious={"gender": ["female", "male"]})
    >>> result = se.score(jobs, model, sae, tokenizer=tokenizer, progress=False)
    >>> result
    <Result of memory:TopKSAE-... on 'texts': SHIFT area ...>
    """
    given = list(dictionaries) if isinstance(dictionaries, list | tuple) else [dictionaries]
    if not given:
        raise ConfigError("dictionaries is empty; give at least one")
    lm = None if isinstance(model, str) else language_model(model, tokenizer)
    by_name = lm is None and all(isinstance(d, str) for d in given)
    loaded = [] if by_name else [dictionary(d) for d in given]
    config = RunConfig(
        lm.name if lm else model,
        tuple(given) if by_name else tuple(d.info.id for d in loaded),
        protocol=protocol,
        seed=seed,
        ns=tuple(ns or DEFAULT_NS),
        probe_hook=AUTO_PROBE,
        dtype=lm.dtype if lm else RunConfig().dtype,
        **_named(task),
    )
    draw = draw_of(config, _texts(config, task))
    check_texts(config, draw)

    def obtain(task_set: TaskSet) -> Recordings:
        with _bar(progress) as on_progress:
            if by_name:
                return obtain_recordings(config, task_set, config.saes, on_progress=on_progress)
            return obtain_from_objects(
                config, task_set, lambda: lm or language_model(model), loaded, on_progress=on_progress
            )

    prepared = prepared_with(config, draw, obtain)
    prepared = prepared if ns else _with_usual_ns(prepared)
    result = scored(prepared)
    return Result(with_controls(prepared, result) if controls else result, prepared, task)


def _named(task: Task | str) -> dict[str, str]:
    """How the settings name the texts."""
    if isinstance(task, str):
        return {"task": task}
    if not isinstance(task, Task):
        raise ConfigError(
            f"task is a {type(task).__name__}; give what task(...) makes, or a task's name such as 'bios'"
        )
    labels = {n: str(c) for n in ("target", "spurious", "classes") if (c := getattr(task.labels, n)) is not None}
    about = {"text_column": task.text_column, "group_column": task.group_column}
    return {"task": "", "texts": task.texts.source, **about, **labels}


def _texts(config: RunConfig, task: Task | str) -> TaskSet:
    if isinstance(task, str):
        return task_set_of(config)
    protocol = get_protocol(config.protocol)
    return task.task_set.drawn(seed=config.seed, protocol=protocol, per_cell=config.texts_per_cell)


def _with_usual_ns(prepared: Prepared) -> Prepared:
    """The usual N that every dictionary has so many latents for."""
    fewest = min(latents.n_latents for latents in prepared.saes)
    ns = tuple(n for n in prepared.config.ns if n <= fewest)
    return replace(prepared, config=replace(prepared.config, ns=ns))


@contextmanager
def _bar(shown: bool) -> "Iterator[OnProgress | None]":
    """Progress of a pass on stderr; nothing where no pass is made."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with ExitStack() as stack:
        bars: list[Any] = []

        def on_progress(p: "Progress") -> None:
            if not bars:
                bars.append(stack.enter_context(tqdm(total=p.total, unit=" tokens", desc="recording", unit_scale=True)))
            bars[0].update(p.done - bars[0].n)

        yield on_progress
