"""What the sidebar says of the SAE that is picked or typed, and a zipped folder dropped in place of a path."""

import html

import streamlit as st

from app import state
from app.services import access, picked
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.saes.facts import BUNDLED, SaeFacts

LARGEST_ZIP = 600
"""MB of a zipped SAE: 65,536 latents of 768 values in float32 are 400."""


def label(facts: SaeFacts | None, sae: str) -> str:
    """One line of the list; what is searched as one types."""
    if facts is None:
        return sae
    said = [
        facts.hook if facts.where != BUNDLED and facts.hook and facts.hook not in sae else None,
        f"{facts.n_latents:,}" if facts.n_latents else None,
        f"L0 {facts.l0:.0f}" if facts.l0 else None,
    ]
    return " · ".join([sae.removeprefix("smollm2-135m-"), *(s for s in said if s)])


def facts(sae: str, model: str) -> None:
    """Exact id, hook, width and size, and where it is. Of names that stand for nothing the page says what is wrong."""
    try:
        picked.check_model(model)
        found = picked.sae_facts(sae)
    except SaeEvalError:
        return
    unknown = "hook not known before it is loaded" if "Hub" in found.where else "hook not stated"
    size = None if found.gigabytes is None else f"{found.gigabytes * 1000:,.0f} MB"
    numbers = [f"{found.n_latents:,} latents" if found.n_latents else None, _l0(found.l0), size]
    lines = [sae, found.hook or unknown, ", ".join(n for n in numbers if n), f"{found.where}; model {model}"]
    st.html("<div class='id'>" + "<br>".join(map(html.escape, filter(None, lines))) + "</div>")
    if not found.is_for(model):
        st.warning(
            provenance.plain(f"made for {found.model}, not for {model}: choose that model, or its scores mean nothing"),
            icon=":material/warning:",
        )


def drop() -> None:
    """Take an SAE's folder as a zip file."""
    with st.popover("SAE from a zip file", icon=":material/folder_zip:", width="stretch"):
        st.caption("cfg.json and weights as SAELens saves them, the folder zipped. Kept on this machine.")
        off, size = bool(access.why_not("sending files")), LARGEST_ZIP
        file = st.file_uploader("Zipped SAE folder", type=["zip"], key="w_sae_zip", max_upload_size=size, disabled=off)
        if not st.button("Use it", key="w_sae_zip_use", disabled=file is None or off) or file is None:
            return
        try:
            folder = picked.keep_sae(file.name, file.getvalue())
            picked.sae_facts(str(folder))
        except SaeEvalError as error:
            provenance.problem(error)
            return
    state.put(sae=str(folder), latent="", shift_set="mine", tpp_set="mine", cell="")
    st.rerun()


def _l0(l0: float | None) -> str | None:
    return None if l0 is None else f"L0 {l0:.1f}"
