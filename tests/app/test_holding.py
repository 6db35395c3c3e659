"""A committed set followed through later layers from the lab: asked, cancelled, refused, answered."""

import time
from dataclasses import replace

import pytest
from viewing import opened, view

from app.deciding.desk import shift_place
from app.jobs import holding as holding_job
from app.jobs import recording as recording_job
from app.jobs.holding import HoldingJob, Question
from app.services import access, ledger, loading, scoring
from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.holding.held import AtHook, Damage, Held
from saeeval_core.ledger.commits import Under, commit_shift
from saeeval_core.ledger.places import new_set
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.texts.parts import TEST

LATER = "blocks.1.hook_resid_post"


def finished(job, seconds: float = 120):
    """Wait for the job's thread."""
    end = time.monotonic() + seconds
    while job.active and time.monotonic() < end:
        time.sleep(0.05)
    return job


@pytest.fixture
def question(tiny_model_dir, tiny_sae_dirs, tiny_texts_file, cache) -> Question:
    """A recorded tiny SAE and three of its latents."""
    config = RunConfig(
        model=str(tiny_model_dir),
        saes=(str(tiny_sae_dirs["topk"]),),
        task="",
        texts=str(tiny_texts_file),
        target="profession=nurse,surgeon",
        spurious="gender=female,male",
        device="cpu",
    )
    assert finished(recording_job.start(config)).status == "done"
    loaded = loading.load(config)
    assert loaded is not None
    return Question(loaded, scoring.shift_directions(loaded)[0], (1, 2, 3), "mean", (LATER,), damage=False)


def test_a_set_is_followed_once_for_everybody_who_asks(question):
    job = holding_job.start(question)
    assert finished(job).status == "done", job.error
    assert job.result.hooks[0].hook == LATER and job.result.damage is None and job.done == job.total > 0
    assert holding_job.job_of(replace(question)) is job and holding_job.job_of(replace(question, ids=(1,))) is None


def test_cancelled_or_refused_it_says_so(question, monkeypatch):
    job = HoldingJob(question)
    job.cancel()
    job.run()
    assert job.status == "cancelled" and job.result is None
    empty = finished(holding_job.start(replace(question, ids=())))
    assert empty.status == "failed" and "no latent" in empty.error
    monkeypatch.setattr(access, "_now", access.Access(read_only=True))
    with pytest.raises(DataError, match="read-only"):
        holding_job.start(question)


def held(hooks: tuple[str, ...]) -> Held:
    e, no = Estimate(0.5, (0.4, 0.6)), undefined("a reason")
    at = tuple(AtHook(h, e, e, e, e, e, no, e) for h in hooks)
    damage = Damage("64 of toys", 100, 3.0, 0.01, 0.002)
    return Held("sae", "pair", "direction", "test", "mean", "ridge", (3, 4), e, at, damage)


def test_the_lab_asks_about_the_committed_set_and_shows_the_answer(planted_app, monkeypatch):
    monkeypatch.setattr("app.state.who", lambda: "Ada")
    bare = view("shift_lab")
    assert not bare.exception and not any(b.key == "w_hold" for b in bare.button)
    loaded = opened(RunConfig())
    d = scoring.default_direction(loaded, scoring.shift_directions(loaded)[0].pair)
    made = new_set(ledger.store(), shift_place(loaded, d), "Ada", "mine", {3: "ablate", 4: "ablate"})
    own = scoring.shift_view(loaded, d.pair, d.task.target.column, TEST)
    fresh = scoring.shift_erasure(loaded, d.pair, d.task.target.column, TEST)
    whitening = d.pair_fresh.whitening
    commit_shift(ledger.store(), made, "Ada", own, fresh, whitening, (3, 4), Under("mean", "robust", 0))
    asked = []

    def followed(_config, _evaluation, _latents, what, hooks, **_more):
        asked.append((what.ids, what.ablation, what.part))
        return held(hooks)

    monkeypatch.setattr("saeeval_core.holding.kept.followed", followed)
    url = {"pair": d.pair, "target": d.task.target.column}
    page = view("shift_lab", url)
    assert not page.exception
    hooks = page.multiselect(key="w_hold_hooks")
    assert len(hooks.value) == 5 and hooks.options[-1] == "block 29"
    page.button(key="w_hold").click().run()
    question = next(q for q in holding_job._jobs.values() if q.question.ids == (3, 4)).question
    finished(holding_job.job_of(question))
    page = page.run()
    assert asked == [((3, 4), "mean", TEST)] and not page.exception
    shown = " ".join(str(d.value) for d in page.dataframe)
    assert "0.500 [0.400, 0.600]" in shown and "a reason" in shown
    assert any("KL 0.0020" in t.value for t in page.text)
