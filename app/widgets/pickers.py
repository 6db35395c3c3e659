"""The sidebar: language model, SAE and task, who is deciding, the run button, the present switch."""

import streamlit as st

from app import state
from app.services import access, own_tasks
from app.services.picked import saes_on_offer
from app.services.shared import shared
from app.widgets import provenance, run_box, sae_box, who
from saeeval_core.config import PROTOCOLS
from saeeval_core.models.identity import BUNDLED_MODEL
from saeeval_core.recordings.recording import recorded_passes
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
    with st.expander("Protocol and seed"):
        _protocol()
    run_box.button()
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
        help="Type to search; or type a folder, an entry of SAELens's registry (release/sae_id) or hub:org/repo.",
    )
    sae_box.facts(sae, model)


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


def _model_chosen() -> None:
    model = st.session_state["w_model"] or BUNDLED_MODEL
    first = next(iter(saes_on_offer(model)), None)
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


@shared(max_entries=4)
def _recorded_models(_recorded: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.model for key in recorded_passes().values()))


def _models() -> list[str]:
    return list(dict.fromkeys([BUNDLED_MODEL, *_recorded_models(len(recorded_passes()))]))


def _with(options: list[str], chosen: str) -> list[str]:
    return options if chosen in options else [*options, chosen]
