"""The sidebar: language model, SAE and task, who is deciding, the run button, the present switch."""

import html
from dataclasses import dataclass

import streamlit as st

from app import state
from app.jobs import recording as recording_job
from app.services import loading
from app.services.shared import shared
from app.widgets import keys, provenance
from saeeval_core.config import PROTOCOLS, RunConfig
from saeeval_core.errors import SaeEvalError
from saeeval_core.models.identity import BUNDLED_MODEL, model_name
from saeeval_core.recordings.known_saes import offered_probes, recorded_dictionaries
from saeeval_core.recordings.recording import recorded_latents, recorded_passes
from saeeval_core.saes.registry import list_bundled, list_registry, local_folder
from saeeval_core.texts.hub_tasks import HUB_TASKS
from saeeval_core.texts.sources import BUNDLED_TASKS

OWN = "own"
_TASK_NAMES = {"bios": "bios (composed)", "reviews": "reviews (composed)", "news": "news (BBC, real)", OWN: "my file"}


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
    with st.expander("Protocol, seed and probe hook"):
        _protocol()
        _probe_hook()
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
    own = [OWN] if "own_texts" in st.session_state else []
    tasks = _with([*BUNDLED_TASKS, *own, *HUB_TASKS], state.get("task"))
    st.session_state["w_task"] = state.get("task")  # texts of one's own become the task without this box
    st.selectbox(
        "Task",
        tasks,
        key="w_task",
        on_change=_chosen,
        args=("task", "w_task"),
        format_func=lambda t: _TASK_NAMES.get(t, f"{t} (Hub)"),
        help="Your own file: see Overview, Load your own.",
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


def _probe_hook() -> None:
    """Offered where ablation of the SAE is exact at several hooks: where it writes, and behind it."""
    offered, chosen = list(_offered(state.get("model"), state.get("sae"))), state.get("probe")
    if len(offered) < 2 and not chosen:
        return
    own = _own_hook(state.get("sae"))
    # A link that names no hook means the one that the SAE reads, or the first exact one where that is none.
    shown = chosen or (own if own in offered or not offered else offered[0])
    options = _with(offered, shown)
    st.selectbox(
        "Probe hook",
        options,
        index=options.index(shown),
        key=f"w_probe_{state.get('sae')}",
        on_change=_probe_chosen,
        format_func=lambda hook: hook.removeprefix("blocks."),
        help="Where the probes read. Only hooks at which ablating this SAE's latents is exact are offered.",
    )


def _probe_chosen() -> None:
    sae = state.get("sae")
    chosen = st.session_state[f"w_probe_{sae}"]
    state.put(probe="" if chosen == _own_hook(sae) else chosen, cell="")


def _default_probe(model: str, sae: str) -> str:
    """What a link says for an SAE that was just picked: its first exact hook, "" where that is the hook it reads."""
    first = next(iter(_offered(model, sae)), "")
    return "" if first == _own_hook(sae) else first


def _offered(model: str, sae: str) -> tuple[str, ...]:
    try:
        return offered_probes(model, sae)
    except SaeEvalError:
        return ()


def _own_hook(sae: str) -> str:
    """The hook that the SAE reads; "" where that is not known without loading it."""
    try:
        known = loading.known(sae)
    except SaeEvalError:
        return ""
    return known.hook if known else ""


def run_box(config: RunConfig) -> None:
    """In place of a view: this SAE has not been run on these texts."""
    st.subheader("Not run yet")
    sae, texts = provenance.plain(config.saes[0]), provenance.plain(config.task or config.texts)
    st.write(f"There is no recording of {sae} on {texts}.")
    st.write("One pass of the language model over the texts makes it; every score afterwards is instant.")
    job = recording_job.job_of(config)
    if job is None or not job.active:
        if job is not None and job.error:
            st.error(provenance.plain(job.error), icon=":material/error:")
        if st.button("Run", type="primary", icon=":material/play_arrow:", key="w_run_main"):
            recording_job.start(config)
            st.rerun()
    else:
        job_progress(config, "page")


@st.fragment(run_every=0.7)
def job_progress(config: RunConfig, where: str) -> None:
    """Progress, time left and cancel of the run of these settings; the page goes on when it is done."""
    job = recording_job.job_of(config)
    if job is None or not job.active:
        st.rerun(scope="app")
        return
    share = job.done / job.total if job.total else 0.0
    left = "" if job.eta is None else f", {_duration(job.eta)} left"
    st.progress(
        min(1.0, share), text=f"{job.step}: {job.done:,} of {job.total:,} tokens{left}" if job.total else job.step
    )
    if st.button("Cancel", key=f"w_cancel_{where}_{id(job)}", help="What is done is kept; Run goes on from there."):
        job.cancel()


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
    sae = first.id if first else ""
    state.put(
        model=model,
        sae=sae,
        probe=_default_probe(model, sae),
        latent="",
        pair="",
        target="",
        shift_set="mine",
        tpp_set="mine",
    )


def _chosen(name: str, key: str) -> None:
    """Another SAE or task: latents, pairs and sets of the old one mean nothing there."""
    value = st.session_state[key] or state.DEFAULTS[name]
    kept = {"probe": _default_probe(state.get("model"), value)} if name == "sae" else {"pair": "", "target": ""}
    state.put(**{name: value}, latent="", shift_set="mine", tpp_set="mine", cell="", **kept)


def _present_chosen() -> None:
    state.put(present="1" if st.session_state["w_present"] else "")


def _run_button() -> None:
    """Run from every view; also shows runs that somebody else started."""
    try:
        config = state.config()
        known = loading.load(config) is not None
    except SaeEvalError:
        return
    job = recording_job.job_of(config)
    if job is not None and job.active:
        job_progress(config, "sidebar")
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
    for r, key in recorded_dictionaries():
        if r.sae not in found and key.model == model_name(model):
            found[r.sae] = Choice(r.sae, r.shape[1], r.unsupervised.get("l0"), key.hook, "recorded here")
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
