"""A committed set followed through later layers from the lab: asked, cancelled, refused, answered."""

import time
from dataclasses import replace

import pytest
from viewing import opened, texts, view

from app.deciding.class_sets import class_sets, open_sets
from app.deciding.desk import shift_place
from app.deciding.tpp_page import TppPage
from app.figures.holding import classes_through_layers
from app.jobs import holding as holding_job
from app.jobs import recording as recording_job
from app.jobs.holding import HoldingJob, Question
from app.services import access, ledger, loading, scoring
from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.holding.asked import AskedSet
from saeeval_core.holding.held import AtHook, ClassAtHook, ClassesAtHook, Damage, Held, HeldClasses
from saeeval_core.ledger.commits import Under, commit_shift, commit_tpp
from saeeval_core.ledger.places import new_set
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.texts.parts import DEV, TEST

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
    asked = AskedSet(scoring.shift_directions(loaded)[0], (1, 2, 3), "mean")
    return Question(loaded, asked, (LATER,), damage=False)


def test_a_set_is_followed_once_for_everybody_who_asks(question):
    job = holding_job.start(question)
    assert finished(job).status == "done", job.error
    assert job.result.hooks[0].hook == LATER and job.result.damage is None and job.done == job.total > 0
    assert holding_job.job_of(replace(question)) is job
    assert holding_job.job_of(replace(question, asked=replace(question.asked, ids=(1,)))) is None


def test_cancelled_or_refused_it_says_so(question, monkeypatch):
    job = HoldingJob(question)
    job.cancel()
    job.run()
    assert job.status == "cancelled" and job.result is None
    empty = finished(holding_job.start(replace(question, asked=replace(question.asked, ids=()))))
    assert empty.status == "failed" and "no latent" in empty.error
    monkeypatch.setattr(access, "_now", access.Access(read_only=True))
    with pytest.raises(DataError, match="read-only"):
        holding_job.start(question)


def finish_what_is_followed():
    for job in list(holding_job._jobs.values()):
        finished(job)


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
    finish_what_is_followed()
    page = page.run()
    assert asked == [((3, 4), "mean", TEST)] and not page.exception
    shown = " ".join(str(d.value) for d in page.dataframe)
    assert "0.500 [0.400, 0.600]" in shown and "a reason" in shown
    assert any("KL 0.0020" in t.value for t in page.text)


def held_classes(names: list[str], hooks: tuple[str, ...]) -> HeldClasses:
    e, no = Estimate(0.25, (0.2, 0.3)), undefined("a class is missing")
    at = tuple(ClassesAtHook(h, e, no, tuple(ClassAtHook(name, e, e, e, e) for name in names)) for h in hooks)
    damage = {name: Damage("64 of toys", 100, 3.0, 0.01, 0.002) for name in names}
    return HeldClasses("sae", "task", "test", "mean", "ridge", dict.fromkeys(names, 5), e, at, damage)


def test_the_tpp_page_follows_the_committed_sets_of_all_classes_or_of_one(planted_app, monkeypatch):
    monkeypatch.setattr("app.state.who", lambda: "Ada")
    loaded, opens = opened(RunConfig()), {"w_tpp_hold": True}
    bare = view("tpp_matrix", session=opens)
    assert not bare.exception and "Commit this set first" in texts(bare)
    page = TppPage(loaded, DEV, "Ada", class_sets(loaded, "mine", "Ada", 5), 5, "mean")
    read = scoring.tpp_erasure(loaded, TEST), scoring.evaluation(loaded).tpp_whitening
    mine = open_sets(ledger.store(), page.desk, page.sets)
    asked, names = [], list(page.classes)
    for n, ids in ((9, [(1,)] * len(names)), (5, page.ids)):  # what was committed last is followed
        under = Under("mean", "robust", 0)
        commit_tpp(ledger.store(), mine, "Ada", scoring.tpp_view(loaded, TEST), *read, ids, n, under)

    def followed(_config, _evaluation, _latents, what, hooks, **_more):
        asked.append((what.sets, what.followed, what.ablation, what.part))
        return held_classes([names[i] for i in what.followed], hooks)

    monkeypatch.setattr("saeeval_core.holding.kept.followed", followed)
    at = view("tpp_matrix", session=opens)
    assert not at.exception
    at.button(key="w_hold").click().run()
    finish_what_is_followed()
    at = at.run()
    sets = tuple(tuple(sorted(ids)) for ids in page.ids)
    assert asked == [(sets, tuple(range(len(names))), "mean", TEST)] and not at.exception
    shown = " ".join(str(d.value) for d in at.dataframe)
    assert "0.250 [0.200, 0.300]" in shown and "a class is missing" in shown
    assert any(t.value.startswith(f"{names[0]}: On 64 of toys") for t in at.text)
    at.selectbox(key="w_hold_class").set_value(1).run()
    at.button(key="w_hold").click().run()
    finish_what_is_followed()
    assert asked[1][:2] == (sets, (1,)) and not at.run().exception


def test_the_picture_of_one_class_is_of_its_own_probe():
    every, one = held_classes(["a", "b"], (LATER,)), held_classes(["a"], (LATER,))
    assert {t.name for t in classes_through_layers(every).data} >= {"TPP", "TPP of fresh probes"}
    assert {t.name for t in classes_through_layers(one).data} >= {"its probe loses", "R of the others"}
