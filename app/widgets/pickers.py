"""The sidebar: language model, SAE and task, who is deciding, the run button, the present switch."""

import streamlit as st

from app import state
from app.services import access, loading, own_tasks
from app.services.picked import models_on_offer, saes_on_offer
from app.widgets import provenance, run_box, sae_box, who
from saeeval_core.config import DTYPES, PRECISION, PROTOCOLS
from saeeval_core.errors import SaeEvalError
from saeeval_core.models.packages import BUNDLED_MODEL
from saeeval_core.recordings.known_saes import offered_probes
from saeeval_core.texts.hub_tasks import HUB_TASKS
from saeeval_core.texts.sources import BUNDLED_TASKS

_TASK_NAMES = {"bios": "bios (composed)", "reviews": "reviews (composed)", "news": "news (BBC, real)"}


def sidebar() -> None:
    """Draw the pickers; what is picked goes to ``state``."""
    if off := access.why_not("deciding"):
        st.caption(provenance.plain(off))
    who.draw()
    _model()
    _sae()
    sae_box.drop()
    _task()
    with st.expander("Protocol, seed and probe hook"):
        _protocol()
        _probe_hook()
        _precision()
    run_box.button()
    st.toggle(
        "Present",
        state.presenting(),
        key="w_present",
        on_change=_present_chosen,
        help="Large type, no controls. Escape leaves it.",
    )


def _model() -> None:
    models = _with(models_on_offer(), state.get("model"))
    st.selectbox(
        "Language model",
        models,
        index=models.index(state.get("model")),
        key="w_model",
        on_change=_model_chosen,
        accept_new_options=True,
        help="Type to search SAELens's registry; or type a local folder in transformers' format, or a Hub id.",
    )


def _sae() -> None:
    model, sae = state.get("model"), state.get("sae")
    choices = {f.id: f for f in saes_on_offer(model)}
    ids = _with(list(choices), sae)
    st.selectbox(
        "SAE",
        ids,
        index=ids.index(sae),
        key=f"w_sae_{model}",
        on_change=_chosen,
        args=("sae", f"w_sae_{model}"),
        accept_new_options=True,
        format_func=lambda i: sae_box.label(choices.get(i), i),
        help="Type to search; or type a folder or file, an entry of SAELens's registry (release/sae_id) or hub:org/repo.",
    )
    sae_box.facts(sae, model, sae in choices)


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
        help="robust: ours, with separate dev and test texts. saebench, paper: their probes and settings, no dev part.",
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


def _precision() -> None:
    st.selectbox(
        "Precision of the model",
        DTYPES,
        index=DTYPES.index(state.one_of("dtype", DTYPES)),
        key="w_dtype",
        on_change=state.choose,
        args=("dtype", "w_dtype"),
        help=PRECISION,
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


def _model_chosen() -> None:
    model = st.session_state["w_model"] or BUNDLED_MODEL
    first = next(iter(saes_on_offer(model)), None)
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


def _with(options: list[str], chosen: str) -> list[str]:
    return options if chosen in options else [*options, chosen]
