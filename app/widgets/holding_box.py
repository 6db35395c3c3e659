"""Does it hold at later layers? The set that was committed last, followed through the model on request."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.deciding.class_sets import ClassCommit
from app.deciding.lab import Lab
from app.deciding.tpp_page import TppPage
from app.figures.holding import classes_through_layers, through_layers
from app.jobs import holding as holding_job
from app.jobs.holding import HoldingJob, Question
from app.services import access, ledger, scoring
from app.services.loading import Loaded
from app.widgets import chart, provenance, tpp_sets
from app.widgets.run_box import duration
from saeeval_core.errors import SaeEvalError
from saeeval_core.holding.asked import Asked, AskedClasses, AskedSet
from saeeval_core.holding.held import Damage, Held, HeldClasses
from saeeval_core.holding.hooks import later_hooks, some_hooks
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.commits import Settings, read_shift
from saeeval_core.models.identity import model_settings
from saeeval_core.models.layouts import layer_of
from saeeval_core.models.shapes import block_count
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural, short_time

_QUESTION = "Does it hold at later layers? The committed set, ablated in the running model."
_COMMIT_FIRST = "Commit this set first, with this protocol and seed: later layers are read on the test texts."
_ALL = -1
"""All classes, one after another."""


def popover(box: DeltaGenerator, lab: Lab) -> None:
    """Of SHIFT: the question, its progress and its answer."""
    with box.popover("Later layers", icon=":material/layers:"):
        st.write(_QUESTION)
        found = _committed(lab)
        if found is None:
            st.caption(_COMMIT_FIRST)
        else:
            ablation = read_shift(found).settings.ablation
            _asked(lab.loaded, AskedSet(lab.direction, found.ids, ablation), _said(len(found.ids), found, ablation))


@st.fragment
def classes(loaded: Loaded) -> None:
    """Of TPP: the same of the sets of all classes or of one, on its own when opened."""
    if not st.toggle("Follow the committed set through later layers", key="w_tpp_hold"):
        st.caption(_QUESTION)
        return
    if not scoring.evaluation(loaded).tpp_is_live:
        provenance.how(f"Protocol {loaded.protocol.name} draws new negatives for every number; choose robust.")
        return
    page = tpp_sets.page(loaded)
    try:
        found = _committed_classes(page)
    except SaeEvalError as error:
        provenance.problem(error)
        return
    if not found:
        st.caption(_COMMIT_FIRST)
        return
    _asked_classes(loaded, page.classes, found)


def _asked_classes(loaded: Loaded, names: tuple[str, ...], found: list[ClassCommit]) -> None:
    by_name, ablation = {made.name: made.row for made in found}, found[0].frozen.settings.ablation
    sets = tuple(by_name[name].ids if name in by_name else () for name in names)
    full = [i for i, ids in enumerate(sets) if ids]
    one = st.selectbox(
        "Class", [_ALL, *full], format_func=lambda i: "all classes" if i == _ALL else names[i], key="w_hold_class"
    )
    followed = tuple(i for i, name in enumerate(names) if i == one or (one == _ALL and name in by_name))
    said = _said(sum(len(sets[i]) for i in followed), found[0].row, ablation)
    _asked(loaded, AskedClasses(sets, followed, ablation), f"{said}; a pass through the model for each class")


def _committed(lab: Lab) -> Commit | None:
    """The newest commit of the set under the settings on screen; one that cannot be read is none of them."""
    chosen = lab.chosen()
    for commit in reversed(ledger.store().commits(chosen.id) if chosen else []):
        try:
            if _here(lab.loaded, read_shift(commit).settings):
                return commit
        except SaeEvalError:
            continue
    return None


def _committed_classes(page: TppPage) -> list[ClassCommit]:
    """Of every class its part of the newest commit under the settings on screen; empty where there is none.

    ArtifactError for one that cannot be read.
    """
    every = [made for made in page.sets.committed() if _here(page.loaded, made.frozen.settings)]
    newest = max(every, key=lambda made: made.row.id, default=None)
    return [made for made in every if newest is not None and made.frozen.batch == newest.frozen.batch]


def _here(loaded: Loaded, own: Settings) -> bool:
    here = loaded.protocol.name, loaded.config.seed, loaded.latents.probed
    return (own.protocol, own.seed, own.probe_hook) == here


def _said(n: int, commit: Commit, ablation: str) -> str:
    return f"{plural(n, 'latent')}, committed {short_time(commit.at)} by {commit.who}, {ablation} ablation, test"


def _asked(loaded: Loaded, asked: Asked, said: str) -> None:
    probe = loaded.residuals.key.hook
    blocks = block_count(model_settings(loaded.config.model) or {})
    hooks = st.multiselect(
        "Read at",
        [probe, *later_hooks(blocks, probe)],
        some_hooks(blocks, probe),
        format_func=_short,
        key="w_hold_hooks",
        help="The residual stream after these blocks.",
    )
    damage = st.checkbox("Change of loss and KL on general text too", True, key="w_hold_damage")
    question = Question(loaded, asked, tuple(hooks), damage)
    provenance.how(said)
    job = holding_job.job_of(question)
    if job is not None and job.active:
        _progress(job)
        return
    _start(question)
    if job is not None and job.error:
        st.info(provenance.plain(job.error), icon=":material/info:")
    elif job is not None and job.result is not None:
        _answer(job.result, job.note)


def _start(question: Question) -> None:
    off = access.why_not("running") or ("" if question.hooks else "Choose a hook to read.")
    if st.button(
        "Follow it",
        key="w_hold",
        icon=":material/play_arrow:",
        disabled=bool(off),
        help=provenance.plain(off or "Minutes of work, with Cancel; what was followed before is there at once."),
    ):
        try:
            holding_job.start(question)
        except SaeEvalError as error:
            provenance.problem(error)
        else:
            st.rerun()


@st.fragment(run_every=2.0)
def _progress(job: HoldingJob) -> None:
    if not job.active:
        st.rerun(scope="app")
        return
    share = job.done / job.total if job.total else 0.0
    left = "" if job.eta is None else f", {duration(job.eta)} left"
    told = f"{job.step}: {job.done:,} of {plural(job.total, 'token')}{left}" if job.total else job.step
    st.progress(min(1.0, share), text=provenance.plain(f"Cancelling: {told}" if job.cancelling else told))
    st.button("Cancel", key="w_hold_cancel", disabled=job.cancelling, on_click=job.cancel)


def _answer(held: Held | HeldClasses, note: str) -> None:
    of_set = isinstance(held, Held)
    figure = through_layers(held.hooks) if of_set else classes_through_layers(held)
    chart.with_files(figure, "w_hold_figure", part="test", caption=note, name=note)
    st.dataframe(_rows(held) if of_set else _class_rows(held), hide_index=True, key="w_hold_table")
    if of_set:
        damaged = [] if held.damage is None else [_damage(held.damage)]
    else:
        damaged = [f"{name}: {_damage(d)}" for name, d in held.damage.items()]
    if damaged:
        st.text("\n".join(damaged))
    elif note:
        st.caption(provenance.plain(f"Change of loss is not measured: {note}"))
    if of_set:
        probes, exact = "C_b, oracle and fresh probes", f"S at the probe in closed form: {say(held.exact)}"
    else:
        probes, exact = "one-vs-rest and fresh probes", f"TPP at the probes in closed form: {say(held.exact)}"
    provenance.how(
        f"At each hook {probes} are trained on activations there; the ablated ones are read from a pass of the model "
        f"with the set ablated. {exact}."
    )


def _rows(held: Held) -> list[dict[str, str]]:
    return [
        {
            "read at": _short(at.hook),
            "S": say(at.score),
            "still readable (R)": say(at.recoverability),
            "R of the target": say(at.recoverability_target),
            "E": say(at.selective_erasure),
        }
        for at in held.hooks
    ]


def _class_rows(held: HeldClasses) -> list[dict[str, str | int]]:
    """One per hook and class; TPP, of all classes together, stands in each."""
    return [
        {
            "read at": _short(at.hook),
            "class": own.name,
            "latents": held.n_ablated[own.name],
            "its probe loses": say(own.own),
            "others lose": say(own.others),
            "still readable (R)": say(own.recoverability),
            "R of the others": say(own.recoverability_others),
            "TPP": say(at.score),
            "fresh TPP": say(at.fresh_score),
        }
        for at in held.hooks
        for own in at.classes
    ]


def _damage(d: Damage) -> str:
    return f"On {d.texts}: loss {d.loss:.3f} {d.loss_change:+.4f} nats per token, KL {d.kl:.4f}"


def _short(hook: str) -> str:
    layer = layer_of(hook)
    return hook if layer is None or not hook.endswith("hook_resid_post") else f"block {layer}"
