"""What ``score`` gives: it shows itself, is written in every format, answers for sets of latents, and opens the lab."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeeval_core.door.html import figures, headline, result_html
from saeeval_core.door.lab import Lab, lab_of
from saeeval_core.door.live import Classes, ShiftDirection, ShiftDirections
from saeeval_core.door.task import Task
from saeeval_core.errors import ConfigError, DataError, unknown_name
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import RunResult, SaeResult
from saeeval_core.evaluation.result_json import to_json
from saeeval_core.formats.report import report_html
from saeeval_core.formats.saebench_files import export_saebench, run_rows
from saeeval_core.models.memory_names import memory_label
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.uncertainty import say
from saeeval_core.storage.artifacts import sealed, write_atomic
from saeeval_core.sweep.columns import BLANK, ScoreRow, cells

if TYPE_CHECKING:
    import pandas as pd

_ALWAYS = ("sae", "metric", "variant", "n", "value", "ci_low", "ci_high")
"""Columns of ``to_frame`` that are there also where they say nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Scores of one or several dictionaries on a task. A notebook shows it as tables and pictures.

    >>> result.names
    ('memory:TopKSAE-...',)
    >>> "<script" in result._repr_html_()
    False
    """

    run: RunResult
    """Every number, typed."""
    prepared: Prepared
    """Recordings and probes, from which sets are answered."""
    task: Task | str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the dictionaries."""
        return tuple(s.sae for s in self.run.saes)

    def __getitem__(self, name: str) -> "Result":
        """The same of one dictionary, by its name or what its owner calls it. DataError for one that there is not.

        >>> result["TopKSAE"].names == result.names
        True
        """
        found = [i for i, own in enumerate(self.names) if name in (own, memory_label(own))]
        if len(found) != 1:
            raise DataError(unknown_name("dictionary", name, self.names))
        i = found[0]
        config, prepared = self.run.config, self.prepared
        one = replace(self.run.with_saes([self.run.saes[i]]), config=replace(config, saes=(config.saes[i],)))
        own = replace(prepared, config=replace(prepared.config, saes=(config.saes[i],)), saes=[prepared.saes[i]])
        return Result(one, own, self.task)

    @cached_property
    def shift(self) -> ShiftDirections:
        """Both directions of every pair, in which sets of latents can be ablated.

        >>> direction = result.shift["profession"]
        >>> direction.ablate(direction.ranking[:5]).score.value is not None
        True
        """
        latents = self.prepared.saes[self._only()]
        evaluation = self.prepared.evaluation
        if not evaluation.directions:
            raise DataError("the task has no SHIFT labels; give target and spurious")
        return ShiftDirections(tuple(ShiftDirection(d, evaluation, latents) for d in evaluation.directions))

    @cached_property
    def tpp(self) -> Classes:
        """The classes, for each of which a set of latents can be ablated.

        >>> meals.tpp
        <TPP of tea, soup, bread>
        """
        latents = self.prepared.saes[self._only()]
        if not self.prepared.evaluation.tpp_is_live:
            raise DataError("the task has no classes, or the protocol draws other texts for every number")
        return Classes(self.prepared.evaluation, latents)

    def to_frame(self) -> "pd.DataFrame":
        """One row per score and control on test, with intervals: N, variant, value, ci_low, ci_high, and why not.

        >>> frame = result.to_frame()
        >>> frame[frame.variant == "mean ablation, small-N area"].role.value_counts().to_dict()["sae"]
        1
        """
        import pandas as pd

        rows = [*run_rows(self.run), *(r for sae in self.run.saes for r in _control_rows(sae))]
        frame = pd.DataFrame([asdict(r) for r in rows], columns=list(BLANK))
        said = [c for c in frame if c in _ALWAYS or any(v == v and v is not None and v != BLANK[c] for v in frame[c])]
        return frame[said]

    def to_json(self, path: "str | Path | None" = None) -> str:
        """What ``saeeval run --json`` writes, which Compare and ``saeeval report`` open; also into a file.

        >>> sorted(json.loads(result.to_json()))[:3]
        ['config', 'controls', 'model']
        """
        text = json.dumps(sealed(to_json(self.run)), indent=1, allow_nan=False)
        _write(path, text)
        return text

    def to_saebench(self, folder: "str | Path | None" = None) -> Mapping[str, Mapping[str, Any]]:
        """File name -> content of SAEBench's result files, "scr" and "tpp"; also into a folder.

        >>> list(result.to_saebench())
        ['memory_TopKSAE-..._scr_eval_results.json']
        """
        files = export_saebench(self.run, when_ms=int(time.time() * 1000))
        for name, content in files.items() if folder is not None else ():
            _write(Path(folder) / name, json.dumps(content, indent=1, allow_nan=False))
        return files

    def report(self, path: "str | Path") -> Path:
        """Write one HTML page that opens offline: scores, controls, pictures, settings and versions.

        >>> result.report(folder / "report.html").stat().st_size > 5000
        True
        """
        several = len(self.names) > 1

        def of(sae: SaeResult, title: str) -> str:
            return f"{sae.sae}: {title}" if several else title

        page = report_html(
            to_json(self.run),
            [replace(f, title=of(sae, f.title)) for sae in self.run.saes for f in figures(sae)],
            title=f"{', '.join(self.names)} on {self.run.task.title or self.run.task.name}",
            command="",
            when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            headline=[(of(sae, name), say(score)) for sae in self.run.saes for name, score in headline(sae)],
        )
        _write(path, page)
        return Path(path)

    def decide(self, *, name: str = "", port: int = 8501, start: bool = False) -> Lab:
        """The dashboard's lab on this recording, where latents are decided by hand: its address.

        The texts are kept as a task (``name``; by default that of ``task``), so that what is decided has something to
        stand on. ``start`` starts the server in a process of its own, which ``.stop()`` ends; otherwise run
        ``saeeval app``. One dictionary at a time. DataError for a name that is taken.

        >>> print(result.decide(name="jobs"))
        http://localhost:8501/shift?model=memory%3Atiny-llama-...&sae=memory%3ATopKSAE-...&task=own%3Ajobs-...
        """
        sae = self.run.config.saes[self._only()]
        page = "shift" if self.prepared.evaluation.directions else "tpp"
        return lab_of(self.run.config, sae, self.task, page, name=name, port=port, start=start)

    def _only(self) -> int:
        if len(self.names) > 1:
            raise ConfigError(f"there are {len(self.names)} dictionaries; name one first, as result['{self.names[0]}']")
        return 0

    def __repr__(self) -> str:
        scores = "; ".join(f"{name} {say(score)}" for sae in self.run.saes for name, score in headline(sae)[:1])
        task = self.run.task
        return f"<Result of {', '.join(self.names)} on '{task.title or task.name}': {scores}>"

    def _repr_html_(self) -> str:
        return result_html(self.run)


def _control_rows(sae: SaeResult) -> Iterable[ScoreRow]:
    """The controls of the scores that ``run_rows`` has."""
    for p in sae.controls:
        if p.variant in (TOP_N, RECOMMENDED):
            yield ScoreRow(
                role="control",
                control=p.control.name,
                of=sae.sae,
                metric=p.metric,
                variant=p.variant,
                n=p.n,
                **cells(p.control.score),
            )


def _write(path: "str | Path | None", text: str) -> None:
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(Path(path), text.encode())
