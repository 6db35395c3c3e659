"""The sidebar: language model, SAE and task, who is deciding, the run button, the present switch."""

import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from app import state
from app.jobs import recording as recording_job
from app.services import loading, own_tasks
from app.services.shared import shared
from app.widgets import keys, provenance
from saeeval_core.config import PROTOCOLS, RunConfig
from saeeval_core.errors import SaeEvalError
from saeeval_core.models.identity import BUNDLED_MODEL
from saeeval_core.recordings import plan
from saeeval_core.recordings.recording import recorded_latents, recorded_passes
from saeeval_core.saes.registry import list_bundled, list_registry, local_folder
from saeeval_core.texts.hub_tasks import HUB_TASKS
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.sources import BUNDLED_TASKS

_TASK_NAMES = {"bios": "bios (composed)", "reviews": "reviews (composed)", "news": "news (BBC, real)"}


@dataclass(frozen=True)
class Choice:
    """One SAE that can be picked."""

    id: str
    n_latents: int | None
    l0: float | None
    hook: str | None
    where: str
    """bundled | recorded here | folder | SAELens registry (download)"""
    architecture: str = ""


def sidebar() -> None:
    """Draw the pickers; what is picked goes to ``state``."""
    _name()
    _model()
    _sae()
    _task()
    with st.expander("Protocol and seed"):
        _protocol()
    _run_button()
    st.toggle(
        "Present",
        state.presenting(),
        key="w_present",
        on_change=_present_chosen,
        help="Large type, no controls. Escape leaves it.",
    )


def _model() -> None:
    models = _with(_models(), state.get("model"))
    st.selectbox(
        "Language model",
        models,
        index=models.index(state.get("model")),
        key="w_model",
        on_change=_model_chosen,
        accept_new_options=True,
        help="A bundled name, a local folder in transformers' format, or a Hub id: type it.",
    )


def _sae() -> None:
    model, sae = state.get("model"), state.get("sae")
    choices = {c.id: c for c in _saes(model)}
    ids = _with(list(choices), sae)
    st.selectbox(
        "SAE",
        ids,
        index=ids.index(sae),
        key=f"w_sae_{model}",
        on_change=_chosen,
        args=("sae", f"w_sae_{model}"),
        accept_new_options=True,
        format_func=lambda i: _sae_label(choices.get(i), i),
        help="Bundled, a local folder, an entry of SAELens's registry (release/sae_id), or hub:org/repo: type it.",
    )
    _facts(choices.get(sae), sae, model)


def _task() -> None:
    own = {t.ref: f"{t.name} (kept here, {t.texts:,} texts)" for t in own_tasks.listed()}
    tasks = _with([*BUNDLED_TASKS, *own, *HUB_TASKS], state.get("task"))
    st.session_state["w_task"] = state.get("task")  # a kept task is chosen without this box, under Your data
    st.selectbox(
        "Task",
        tasks,
        key="w_task",
        on_change=_chosen,
        args=("task", "w_task"),
        format_func=lambda t: _TASK_NAMES.get(t) or own.get(t) or (t if t.startswith("own:") else f"{t} (Hub)"),
        help="A file of your own becomes a task under Your data.",
    )


def _protocol() -> None:
    names = list(PROTOCOLS)
    st.selectbox(
        "Protocol",
        names,
        index=names.index(state.one_of("protocol", names)),
        key="w_protocol",
        on_change=state.choose,
        args=("protocol", "w_protocol"),
        help="robust: ours, with dev and test apart. saebench, paper: their probes and settings, no dev part.",
    )
    st.number_input(
        "Seed", 0, 10_000, state.number("seed", 0), key="w_seed", on_change=state.choose, args=("seed", "w_seed")
    )


def run_box(config: RunConfig, ready: Callable[[Any], None]) -> None:
    """``ready`` with the recordings; in their place, while this SAE has not been run on these texts, the run."""
    loaded = loading.load(config)
    if loaded is not None:
        ready(loaded)
        return
    st.subheader("Not run yet")
    texts = loading.texts_of(replace(config, saes=())).texts
    st.write(f"There is no recording of {provenance.plain(config.saes[0])} on {provenance.plain(texts.shown)}.")
    st.write("One pass of the language model over the texts makes it; every score afterwards is instant.")
    job = recording_job.job_of(config)
    if job is not None and job.active:
        job_progress(config, "page")
        return
    if job is not None and job.status == "cancelled":
        st.info(provenance.plain(job.error), icon=":material/pause_circle:")
    elif job is not None and job.error:
        st.error(provenance.plain(job.error), icon=":material/error:")
    _foretold(config, texts)
    if st.button("Run", type="primary", icon=":material/play_arrow:", key="w_run_main"):
        recording_job.start(config)
        st.rerun()


def _foretold(config: RunConfig, texts: LabelledTexts) -> None:
    """Tokens, time and memory, before anything is loaded."""
    sae = next((c for c in _saes(config.model) if c.id == config.saes[0]), None)
    found = plan.plan(config, texts.texts, sae.n_latents if sae else None)
    pace = (
        "at the pace of the last pass here"
        if found.measured
        else "from this machine's speed; the first pass says better"
    )
    seconds = (
        "time not known before the first pass"
        if found.seconds is None
        else f"about {_duration(found.seconds)} ({pace})"
    )
    memory = "" if found.model_bytes is None else f", {found.model_bytes / 1e9:.1f} GB for the model's weights"
    disk = "" if found.recording_bytes is None else f", at most {found.recording_bytes / 1e6:,.0f} MB kept"
    provenance.how(
        f"{found.texts:,} texts, at least {found.tokens:,} tokens: {seconds}, and loading the model{memory}{disk}."
    )


@st.fragment(run_every=0.7)
def job_progress(config: RunConfig, where: str) -> None:
    """Progress, time left and cancel of the run of these settings; the page goes on when it is done."""
    job = recording_job.job_of(config)
    if job is None or not job.active:
        st.rerun(scope="app")
        return
    share = job.done / job.total if job.total else 0.0
    left = "" if job.eta is None else f", {_duration(job.eta)} left"
    told = f"{job.step}: {job.done:,} of {job.total:,} tokens{left}" if job.total else job.step
    st.progress(min(1.0, share), text="cancelling: what is done is kept" if job.stopping else told)
    st.button(
        "Cancel",
        key=f"w_cancel_{where}_{id(job)}",
        help="What is done is kept; Run goes on from there.",
        on_click=job.cancel,
        disabled=job.stopping,
    )


def _name() -> None:
    if "who" not in st.session_state:
        st.session_state["who"] = keys.known_name()
    st.text_input(
        "Who is deciding",
        st.session_state["who"],
        key="w_who",
        on_change=_name_chosen,
        placeholder="your name",
        max_chars=60,
        help="Stored with every decision; asked once per browser.",
    )


def _name_chosen() -> None:
    st.session_state["who"] = st.session_state["w_who"].strip()


def _model_chosen() -> None:
    model = st.session_state["w_model"] or BUNDLED_MODEL
    first = next(iter(_saes(model)), None)
    state.put(
        model=model, sae=first.id if first else "", latent="", pair="", target="", shift_set="mine", tpp_set="mine"
    )


def _chosen(name: str, key: str) -> None:
    """Another SAE or task: latents, pairs and sets of the old one mean nothing there."""
    kept = {} if name == "sae" else {"pair": "", "target": ""}
    state.put(
        **{name: st.session_state[key] or state.DEFAULTS[name]},
        latent="",
        shift_set="mine",
        tpp_set="mine",
        cell="",
        **kept,
    )


def _present_chosen() -> None:
    state.put(present="1" if st.session_state["w_present"] else "")


def _run_button() -> None:
    """Run from every view; its progress is on the page."""
    try:
        config = state.config()
        known = loading.load(config) is not None
    except SaeEvalError:
        return
    job = recording_job.job_of(config)
    if job is not None and job.active:
        st.caption("running: see the page")
    elif not known and st.button("Run", type="primary", icon=":material/play_arrow:", key="w_run", width="stretch"):
        recording_job.start(config)
        st.rerun()
    others = [j for j in recording_job.active_jobs() if j is not job]
    if others:
        st.caption(f"{len(others)} other run(s) going on")


@shared(max_entries=32)
def _choices(model: str, _recorded: int) -> tuple[Choice, ...]:
    recorded = {r.sae: r for r in recorded_latents()}
    found = {
        i.id: Choice(
            i.id,
            i.n_latents,
            recorded[i.id].unsupervised.get("l0") if i.id in recorded else None,
            i.hook,
            "bundled",
            i.architecture,
        )
        for i in list_bundled()
        if model in (i.model, BUNDLED_MODEL) and (i.model in (None, model) or model == BUNDLED_MODEL)
    }
    passes = recorded_passes()
    for name, r in recorded.items():
        key = passes.get(r.residual_fingerprint)
        if name not in found and key and key.model == model:
            found[name] = Choice(name, r.shape[1], r.unsupervised.get("l0"), key.hook, "recorded here")
    if model != BUNDLED_MODEL:
        for row in list_registry(model):
            found.setdefault(
                row.spec, Choice(row.spec, row.n_latents, row.expected_l0, row.hook, "SAELens registry (download)")
            )
    return tuple(found.values())


def _saes(model: str) -> tuple[Choice, ...]:
    return _choices(model, len(recorded_latents()))


@shared(max_entries=4)
def _recorded_models(_recorded: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.model for key in recorded_passes().values()))


def _models() -> list[str]:
    return list(dict.fromkeys([BUNDLED_MODEL, *_recorded_models(len(recorded_passes()))]))


def _with(options: list[str], chosen: str) -> list[str]:
    return options if chosen in options else [*options, chosen]


def _sae_label(choice: Choice | None, sae: str) -> str:
    if choice is None:
        return sae
    width = f" · {choice.n_latents:,}" if choice.n_latents else ""
    return f"{sae.removeprefix('smollm2-135m-')}{width}" + (f" · L0 {choice.l0:.0f}" if choice.l0 else "")


def _facts(choice: Choice | None, sae: str, model: str) -> None:
    """Exact ids and whether each is on this machine."""
    e = html.escape
    if choice is None:
        place = "folder" if _is_folder(sae) else "Hub (download)"
        st.html(f"<div class='id'>{e(sae)}<br>{e(place)}</div>")
        return
    facts = [
        e(sae),
        e(choice.hook or "hook not stated"),
        f"{choice.n_latents or '?'} latents, L0 {choice.l0:.1f}"
        if choice.l0
        else f"{choice.n_latents or '?'} latents, L0 unknown",
        e(f"{choice.where}; model {model}"),
    ]
    st.html("<div class='id'>" + "<br>".join(facts) + "</div>")


def _is_folder(sae: str) -> bool:
    try:
        return local_folder(sae) is not None
    except SaeEvalError:
        return False


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
