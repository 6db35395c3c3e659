"""Does it hold at later layers? The set that was committed last, followed through the model on request."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.deciding.lab import Lab
from app.figures.holding import through_layers
from app.jobs import holding as holding_job
from app.jobs.holding import HoldingJob, Question
from app.services import access, ledger
from app.widgets import chart, provenance
from app.widgets.run_box import duration
from saeeval_core.errors import SaeEvalError
from saeeval_core.holding.held import Held
from saeeval_core.holding.hooks import later_hooks, some_hooks
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.commits import read_shift
from saeeval_core.models.identity import model_settings
from saeeval_core.models.layouts import layer_of
from saeeval_core.models.shapes import block_count
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural


def popover(box: DeltaGenerator, lab: Lab) -> None:
    """The question, its progress and its answer."""
    with box.popover("Later layers", icon=":material/layers:"):
        st.write("Does it hold at later layers? The committed set, ablated in the running model.")
        found = _committed(lab)
        if found is None:
            st.caption("Commit this set first, with this protocol and seed: later layers are read on the test texts.")
        else:
            _asked(lab, found)


def _committed(lab: Lab) -> Commit | None:
    """The newest commit of the set under the settings on screen; one that cannot be read is none of them."""
    chosen = lab.chosen()
    for commit in reversed(ledger.store().commits(chosen.id) if chosen else []):
        try:
            own = read_shift(commit).settings
        except SaeEvalError:
            continue
        here = lab.loaded.protocol.name, lab.loaded.config.seed, lab.loaded.latents.probed
        if (own.protocol, own.seed, own.probe_hook) == here:
            return commit
    return None


def _asked(lab: Lab, commit: Commit) -> None:
    probe = lab.loaded.residuals.key.hook
    blocks = block_count(model_settings(lab.loaded.config.model) or {})
    options = [probe, *later_hooks(blocks, probe)]
    hooks = st.multiselect(
        "Read at",
        options,
        some_hooks(blocks, probe),
        format_func=_short,
        key="w_hold_hooks",
        help="The residual stream after these blocks.",
    )
    damage = st.checkbox("Change of loss and KL on general text too", True, key="w_hold_damage")
    ablation = read_shift(commit).settings.ablation
    question = Question(lab.loaded, lab.direction, commit.ids, ablation, tuple(hooks), damage)
    provenance.how(
        f"{plural(len(commit.ids), 'latent')}, committed {commit.at[:16]} by {commit.who}, {ablation} ablation, test"
    )
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


def _answer(held: Held, note: str) -> None:
    figure = through_layers(held.hooks)
    chart.with_files(figure, "w_hold_figure", part="test", caption=note, name=note)
    rows = [
        {
            "read at": _short(at.hook),
            "S": say(at.score),
            "still readable (R)": say(at.recoverability),
            "R of the target": say(at.recoverability_target),
            "E": say(at.selective_erasure),
        }
        for at in held.hooks
    ]
    st.dataframe(rows, hide_index=True, key="w_hold_table")
    if held.damage is not None:
        d = held.damage
        st.text(f"On {d.texts}: loss {d.loss:.3f} {d.loss_change:+.4f} nats per token, KL {d.kl:.4f}")
    elif note:
        st.caption(provenance.plain(f"Change of loss is not measured: {note}"))
    provenance.how(
        "At each hook C_b, oracle and fresh probes are trained on activations there; the ablated ones are read from a pass "
        f"of the model with the set ablated. S at the probe in closed form: {say(held.exact)}."
    )


def _short(hook: str) -> str:
    layer = layer_of(hook)
    return hook if layer is None or not hook.endswith("hook_resid_post") else f"block {layer}"
