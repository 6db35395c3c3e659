"""Language models: the bundled one, a local folder or a Hub id, with the raw tokenizer and named hooks.

Hooks are read from the plain transformers model (``sites``), which is faster than a wrapped one; only a hook that it
does not know goes through TransformerLens's bridge.
"""

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from saeeval_core.config import DEFAULT_KERNEL, DTYPES, MAX_TOKENS, ONEDNN
from saeeval_core.errors import ModelError, SaeEvalError
from saeeval_core.models.folder import check_folder
from saeeval_core.models.identity import ADAPTER_FILE, CONFIG_FILE, is_folder, model_name, model_settings
from saeeval_core.models.kernels import kernel_for, pack_linears
from saeeval_core.models.layouts import Exactness, Layout, layer_of, layout_of
from saeeval_core.models.memory_names import memory_label, was_in_memory
from saeeval_core.models.packages import BUNDLED_MODEL, PACKAGED
from saeeval_core.models.sites import Site, StopForward, captured, module_site, named_sites, same_hook
from saeeval_core.models.unpacked_model import unpacked_model
from saeeval_core.redaction import redacted
from saeeval_core.storage.hub import fail_fast
from saeeval_core.storage.parse_json import NotJson, parse_json

Change = tuple[str, Callable[[torch.Tensor], torch.Tensor]]
"""(hook, what its activation [texts, positions, width] is replaced by)."""


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of texts (beginning-of-sequence first) and where each valid token ends in its text."""

    ids: list[np.ndarray]
    """int32[positions] per text: bos, then at most MAX_TOKENS - 1 raw tokens."""
    ends: list[np.ndarray]
    """int32[positions - 1] per text: character end of each valid token (those after bos)."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model on one device, its raw tokenizer and its identity."""

    name: str
    hf: Any
    """transformers model, in eval mode."""
    tokenizer: Any
    """transformers fast tokenizer as loaded; used without its own special tokens."""
    bos_id: int
    device: str
    dtype: str
    note: str = ""
    """Shown with results: what is special about the weights (of the bundled model: dequantised from 4 bits)."""
    kernel: str = DEFAULT_KERNEL
    """What multiplies its float32 matrices, and those of SAEs in the same pass."""

    @cached_property
    def max_tokens(self) -> int:
        """Positions of the longest text, bos included: MAX_TOKENS, or the model's context where that is shorter."""
        return min(MAX_TOKENS, context_length(self.hf.config))

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.hf.config.get_text_config().hidden_size

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.hf.config.get_text_config().num_hidden_layers

    @cached_property
    def layout(self) -> Layout | None:
        """How its blocks are built; None for a family that is not known."""
        return layout_of(self.hf.config.get_text_config().to_dict())

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """Hook -> site of every hook that the plain model knows by name."""
        return named_sites(self._blocks, self.layout)

    @cached_property
    def verified(self) -> dict[str, Exactness]:
        """Write hook -> what ``exact_hooks`` found, which costs some passes over short texts."""
        return {}

    def site(self, hook: str) -> Site | None:
        """The site of a hook, or of the path of a module; None for one that only the bridge may know."""
        return self.sites.get(hook) or (module_site(self.hf, hook, self._blocks) if layer_of(hook) is None else None)

    def hook_name(self, hook: str) -> str:
        """The one name under which the place that ``hook`` names is recorded."""
        return same_hook(self, hook)

    @cached_property
    def bridge(self) -> Any:
        """TransformerLens's bridge around the same weights, for hooks that plain transformers does not name."""
        from transformer_lens.model_bridge import TransformerBridge

        # The bridge puts its own modules in the place of the model's, so it gets others, with the same weights.
        weights = {id(t): t for t in (*self.hf.parameters(), *self.hf.buffers())}
        return TransformerBridge.boot_transformers(
            self.hf.config.name_or_path or self.name,
            hf_model=copy.deepcopy(self.hf, weights),
            tokenizer=self.tokenizer,
            device=self.device,
        )

    def check_hook(self, hook: str) -> None:
        """ModelError unless ``hook`` exists: a misspelt name would otherwise be ignored silently."""
        if self.site(hook) is not None:
            return
        layer = layer_of(hook)
        if layer is not None and layer >= self.n_layers:
            raise ModelError(f"hook '{hook}' does not exist in {self.name}: it has blocks 0 to {self.n_layers - 1}")
        if layer is not None and hook.endswith("hook_resid_mid") and self.layout is not None:
            raise ModelError(
                f"hook '{hook}' does not exist in {self.name}: attention and MLP of a block run in parallel; use "
                f"blocks.{layer}.hook_resid_post"
            )
        if layer is None or hook not in self._bridged_hooks():
            raise ModelError(
                f"hook '{hook}' does not exist in {self.name}; use for instance blocks.{self.n_layers // 2}.hook_resid_post"
            )

    def widths(self, hooks: Sequence[str]) -> list[int]:
        """Number of values of each hook. ModelError for one that does not exist or does not fire."""
        for hook in hooks:
            self.check_hook(hook)
        ids = torch.tensor([[self.bos_id, self.bos_id]], device=self.device)
        found = self.activations(ids, torch.ones_like(ids), list(dict.fromkeys(hooks))) if hooks else {}
        return [found[hook].shape[-1] for hook in hooks]

    def _bridged_hooks(self) -> Mapping[str, Any]:
        # The bridge knows fewer families than transformers; where it does not, only plain hooks exist.
        with suppress(Exception):
            return self.bridge.hook_dict
        return {}

    def tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        """Ids as every protocol uses them: [bos] + tokens of the text, special tokens in it read as plain text.

        ModelError for a token that the model has no embedding for.
        """
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            truncation=True,
            max_length=self.max_tokens - 1,
        )
        ids = [np.array([self.bos_id, *row], dtype=np.int32) for row in encoded["input_ids"]]
        largest, rows = max((int(row.max()) for row in ids), default=0), self.hf.get_input_embeddings().weight.shape[0]
        if largest >= rows:
            raise ModelError(
                f"the tokenizer of {self.name} has token {largest}, but the model's embedding has {rows} rows; "
                "use the tokenizer that the model was trained with"
            )
        ends = [np.array([end for _, end in row], dtype=np.int32) for row in encoded["offset_mapping"]]
        return TokenizedTexts(ids, ends)

    def windows(self, texts: Sequence[str]) -> list[str]:
        """Cut long texts into consecutive pieces of at most max_tokens - 1 tokens each, as character slices."""
        pieces = []
        for text in texts:
            spans = self.tokenizer(
                text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
            )
            ends = [end for _, end in spans["offset_mapping"]]
            cuts = [0, *ends[self.max_tokens - 2 :: self.max_tokens - 1]]
            if ends and cuts[-1] != ends[-1]:
                cuts.append(ends[-1])
            pieces += [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False) if text[a:b].strip()]
        return pieces

    @torch.inference_mode()
    def activations(
        self, ids: torch.Tensor, mask: torch.Tensor, hooks: Sequence[str], *, change: Change | None = None
    ) -> dict[str, torch.Tensor]:
        """Hook -> activations [texts, positions, width] in the model's dtype, for right-padded ids.

        ids, mask int64[texts, positions] on the model's device; mask is 1 at real positions. With ``change`` the
        activation at one hook is replaced on the way. ModelError if a hook does not exist or does not fire.
        """
        plain = {h: site for h in hooks if (site := self.site(h)) is not None}
        found = self._plain_activations(ids, mask, plain, change) if plain else {}
        if others := [h for h in hooks if h not in plain]:
            for hook in others:
                self.check_hook(hook)
            found |= self._bridged_activations(ids, mask, others)
        for hook in hooks:
            if hook not in found:
                raise ModelError(f"hook '{hook}' of {self.name} did not fire; use a blocks.N.hook_resid_post hook")
        return found

    def _plain_activations(
        self, ids: torch.Tensor, mask: torch.Tensor, sites: Mapping[str, Site], change: Change | None
    ) -> dict[str, torch.Tensor]:
        with self.changed(change, ids.shape), captured(sites, ids.shape) as found, suppress(StopForward):
            self.hf.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
        return found

    def _bridged_activations(
        self, ids: torch.Tensor, mask: torch.Tensor, hooks: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        stop = max(layer_of(h) or 0 for h in hooks) + 1
        _, cache = self.bridge.run_with_cache(
            ids, attention_mask=mask, names_filter=list(hooks), stop_at_layer=stop if stop < self.n_layers else None
        )
        return {h: cache[h].reshape(*ids.shape, -1) for h in hooks if h in cache}

    @contextmanager
    def changed(self, change: Change | None, shape: Sequence[int]) -> Iterator[None]:
        """Replace the activation [*shape, width] at one hook in every pass made inside.

        ModelError for a hook that the plain model does not know.
        """
        if change is None:
            yield
            return
        hook, new = change
        site = self.site(hook)
        if site is None or site.normalised:
            raise ModelError(f"hook '{hook}' of {self.name} cannot be written to; use a blocks.N.hook_resid_post hook")
        handle = site.attach(lambda value: new(value.reshape(*shape, -1)).to(value.dtype).reshape(value.shape))
        try:
            yield
        finally:
            handle.remove()

    @cached_property
    def _blocks(self) -> Any:
        # The text model of one that sees pictures too: a vision tower can have as many blocks.
        text = self.hf.get_decoder() if hasattr(self.hf, "get_decoder") else self.hf.base_model
        for module in (text if text is not None else self.hf.base_model).modules():
            if isinstance(module, torch.nn.ModuleList) and len(module) == self.n_layers:
                return list(module)
        raise ModelError(f"cannot find the {self.n_layers} blocks of {self.name}; its architecture is not supported")

    def unembedding(self) -> np.ndarray:
        """Output embedding W_U, float32 [vocabulary, d_model]."""
        return self.hf.get_output_embeddings().weight.detach().float().cpu().numpy()


def load_model(
    spec: str, *, device: str = "auto", dtype: str = "float32", kernel: str = DEFAULT_KERNEL
) -> LanguageModel:
    """Load ``spec``: the name of the bundled model or another packaged one, a local folder in transformers' format, or a Hub id.

    ModelError for a missing or incomplete folder, no network, a gated model without token, a missing wheel, a tokenizer
    that is not fast, or an unknown dtype, device or kernel.
    """
    device = resolve_device(device)
    kernel = kernel_for(kernel, device)
    model = replace(_load(spec, device, dtype), kernel=kernel)
    if kernel == ONEDNN and dtype == "float32":
        pack_linears(model._blocks)
    return model


def _load(spec: str, device: str, dtype: str) -> LanguageModel:
    if spec in PACKAGED:
        return _finish(spec, unpacked_model(spec), device, dtype, bos=PACKAGED[spec].bos, note=PACKAGED[spec].note)
    if memory_label(spec):
        raise ModelError(was_in_memory("model", spec, "save it with save_pretrained and name the folder"))
    name = model_name(spec)
    if _looks_local(spec):
        _check_folder(spec)
    return _finish(name, name, device, dtype)


def context_length(config: Any) -> int:
    """Most positions a model with these settings reads; without a limit, MAX_TOKENS."""
    text = config.get_text_config()
    found = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None) or MAX_TOKENS
    if not isinstance(found, int) or found < 2:
        raise ModelError(f"config.json gives {found!r} positions; expected a whole number from 2; save the model again")
    return found


def _check_folder(spec: str) -> None:
    """ModelError for a folder that holds no whole model, saying what it holds."""
    folder = Path(model_name(spec))
    if (folder / CONFIG_FILE).exists():
        check_folder(spec, folder)
        return
    if (folder / ADAPTER_FILE).exists():
        base = "its base model"
        with suppress(OSError, NotJson, AttributeError):
            base = str(parse_json((folder / ADAPTER_FILE).read_bytes()).get("base_model_name_or_path") or base)
        raise ModelError(
            f"'{spec}' is an adapter for {base}; merge it into the model (peft: merge_and_unload) and save the whole"
        )
    raise ModelError(f"no {CONFIG_FILE} in '{spec}'; expected a folder saved by transformers' save_pretrained")


def resolve_device(device: str) -> str:
    """ "auto" becomes the first available of cuda, mps and cpu. ModelError for a named device that is not available."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, ok in there.items() if ok)
    kind, _, number = device.partition(":")
    known = not number or (kind == "cuda" and number.isdecimal() and int(number) < torch.cuda.device_count())
    if not known or not there.get(kind, False):
        raise ModelError(f"device '{device}' is not available; found: {', '.join(n for n, ok in there.items() if ok)}")
    return device


def _finish(
    name: str, source: str | Path, device: str, dtype: str, bos: str | None = None, note: str = ""
) -> LanguageModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if dtype not in DTYPES:
        raise ModelError(f"dtype '{dtype}' is not supported; use {' or '.join(DTYPES)}")
    # Left out, trust_remote_code asks on a terminal, and one "y" runs a stranger's code.
    safely: dict[str, Any] = {"token": os.environ.get("HF_TOKEN"), "trust_remote_code": False}
    with _clear_load_errors(name), fail_fast():
        tokenizer = AutoTokenizer.from_pretrained(source, **safely)
        kind = getattr(torch, dtype)
        hf, loading = AutoModelForCausalLM.from_pretrained(source, dtype=kind, output_loading_info=True, **safely)
    note = _checked_weights(name, hf, loading, note)
    hf = hf.eval().to(device).requires_grad_(False)
    return model_of(name, hf, tokenizer, device, dtype, bos=bos, note=note)


def model_of(
    name: str, hf: Any, tokenizer: Any, device: str, dtype: str, *, bos: str | None = None, note: str = ""
) -> LanguageModel:
    """transformers' model, on ``device``, and its tokenizer under a name; ``bos``: the token that stands first.

    ModelError for a tokenizer that is not fast, and for one with neither a bos nor an eos token.
    """
    tokenizer.truncation_side = "right"  # the first tokens of a long text are read, whatever was set for chats
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer of '{name}' has no fast version; a tokenizer.json is needed for token positions"
        )
    bos_id = tokenizer.convert_tokens_to_ids(bos) if bos else tokenizer.bos_token_id
    notes = [note] if note else []
    if bos_id is None:
        bos_id = tokenizer.eos_token_id
        notes.append(f"declares no beginning-of-sequence token; '{tokenizer.eos_token}' stands first")
    if bos_id is None:
        raise ModelError(f"'{name}' declares neither a bos nor an eos token; one is needed as the first position")
    if (context := context_length(hf.config)) < MAX_TOKENS:
        notes.append(f"reads {context} positions: texts are cut there, not at {MAX_TOKENS}")
    return LanguageModel(name, hf, tokenizer, int(bos_id), device, dtype, "; ".join(notes))


def _checked_weights(name: str, hf: Any, loading: Mapping[str, Any], note: str) -> str:
    """``note``, with a word on an output embedding that is not in the files: no hook needs it.

    ModelError where the files lack weights below it: transformers would draw them at random and go on.
    """
    lacking = sorted({*loading["missing_keys"], *(m[0] for m in loading["mismatched_keys"])})
    below = [key for key in lacking if key.startswith(f"{hf.base_model_prefix}.")]
    if below:
        others = sorted(loading["unexpected_keys"])
        instead = f"; its files hold others, such as {others[0]}" if others else ""
        raise ModelError(
            f"the checkpoint of '{name}' lacks {len(below)} of the model's weights (such as {below[0]}){instead}; "
            "save it again with save_pretrained"
        )
    head = "its files hold no output embedding: promoted tokens and loss recovered would be of random weights"
    return "; ".join(line for line in (note, head if lacking else "") if line)


@contextmanager
def _clear_load_errors(name: str) -> Iterator[None]:
    """Turn the loaders' long messages into a ModelError of one line that says what to do."""
    try:
        yield
    except SafetensorError as error:
        raise ModelError(f"the weights of '{name}' are damaged or cut short ({error}); get them again") from None
    except OSError as error:
        text = f"{error} {error.__cause__}"
        if _looks_local(name):
            raise ModelError(f"'{name}' is not a complete model folder: {str(error).splitlines()[0]}") from None
        if "401" in text or "403" in text or "gated" in text:
            raise ModelError(f"'{name}' is gated or private (401/403): accept its licence and set HF_TOKEN") from None
        raise ModelError(
            f"'{name}' is neither the bundled model ({BUNDLED_MODEL}) nor a folder, and the Hub cannot be reached or does "
            f"not have it; pass the path of a local folder saved by save_pretrained"
        ) from None
    except SaeEvalError:
        raise
    # Only calls of transformers stand in this block; tokenizers raise bare Exceptions, broken settings anything.
    except Exception as error:  # noqa: BLE001
        if method := _quantisation(name):
            raise ModelError(
                f"'{name}' cannot be loaded: its weights are quantised ({method}), which needs a package or device that "
                "is not here; use the unquantised model"
            ) from None
        why = (redacted(str(error)).strip() or "no reason given").splitlines()[0][:200]
        raise ModelError(f"'{name}' cannot be loaded: {why} ({type(error).__name__}); save it again") from None


def _quantisation(name: str) -> str:
    """How a model's weights are quantised, as its config.json says; "" where they are not."""
    settings = (model_settings(name) or {}).get("quantization_config")
    return str(settings.get("quant_method", "unknown method")) if isinstance(settings, dict) else ""


def _looks_local(spec: str) -> bool:
    return is_folder(spec) or spec.startswith((".", "/", "~")) or spec.count("/") > 1
