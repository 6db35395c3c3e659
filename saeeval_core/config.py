"""Settings of a run, as frozen values that round-trip through JSON, and the protocols (docs/method.md, "Protocols")."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.errors import ConfigError, unknown_name

MAX_TOKENS = 128
"""Positions per text, bos included (the paper's 128)."""

DEFAULT_NS = (1, 2, 3, 5, 10, 20, 50, 100)
DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_SAE = "smollm2-135m-l15-topk-4k"
DEFAULT_TASK = "bios"
AUTO_PROBE = "auto"
"""In place of a probe hook: the first exact one of the dictionaries; of ``saebench`` the hook they write."""
DTYPES = ("float32", "bfloat16")
"""Precisions of the language model."""
PRECISION = (
    "float32 or bfloat16, for the language model. bfloat16 takes half the memory and is faster on processors that have it; "
    "scores change a little: on the bundled model pooled activations move by 0.4 % and pooled latents by 1.3 % of their norm."
)
"""What is said where the precision is chosen; the changes are over 24 reviews, docs/pass.md."""
AUTO_KERNEL, DEFAULT_KERNEL, ONEDNN = "auto", "default", "onednn"
KERNELS = (AUTO_KERNEL, DEFAULT_KERNEL, ONEDNN)
"""What multiplies float32 matrices: torch's own kernel, oneDNN's, or the faster one."""
HEADLINE_N = 10
"""The N of the paper's score that is shown first and compared with its controls."""
ERASURE_N = 20
"""The N at which selective erasure is SHIFT's recommended score, chosen on planted worlds (docs/method.md, "Is it gone?")."""

TASKS_QUOTA = 2_000_000_000
"""Bytes that own tasks may take."""


@dataclass(frozen=True)
class Protocol:
    """Settings of one evaluation protocol. They are not options of their own: a protocol is chosen as a whole."""

    name: str
    optimiser: str
    """"logistic" (L2 lbfgs, C by cross-validated log-loss) or "adamw" (the paper's and SAEBench's training loop)."""
    epochs: int = 0
    """AdamW passes over the probe's training texts."""
    l1: float = 0.0
    """Weight of sum|w| in the AdamW loss."""
    best_test_epoch: bool = False
    """Keep the epoch with the best accuracy on the probe's own test texts, as SAEBench does (a leak; imitated)."""
    separate_dev: bool = True
    """False: there is no dev part, test = dev + test."""
    imitate_padding_leak: bool = False
    """Subtract f_i(0) D_i at every masked position, as SAEBench's ablation does."""
    redraw_negatives: bool = False
    """Draw 1:1 TPP negatives anew for every number, as SAEBench does."""
    full_biased_set: bool = False
    """Train C_b on up to 10,000 biased texts (5,000 per quadrant) instead of 4n."""
    strict_gap: bool = True
    """Also refuse a score whose gap is below .001 in more than 2.5 % of resamples."""


PROTOCOLS = {
    "robust": Protocol("robust", optimiser="logistic"),
    "saebench": Protocol(
        "saebench",
        optimiser="adamw",
        epochs=20,
        l1=1e-3,
        best_test_epoch=True,
        separate_dev=False,
        imitate_padding_leak=True,
        redraw_negatives=True,
        strict_gap=False,
    ),
    "paper": Protocol(
        "paper",
        optimiser="adamw",
        epochs=5,
        separate_dev=False,
        redraw_negatives=True,
        full_biased_set=True,
        strict_gap=False,
    ),
}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name; ConfigError names the known ones."""
    if name not in PROTOCOLS:
        raise ConfigError(unknown_name("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of one run, apart from the contents of the model, SAE and texts."""

    model: str = DEFAULT_MODEL
    saes: tuple[str, ...] = (DEFAULT_SAE,)
    task: str = DEFAULT_TASK
    """Named task or "own:NAME", with ":PAIR" for one SHIFT pair; "" when ``texts`` is given."""
    texts: str = ""
    """File, or "hub:REPO", of labelled texts in place of a named task."""
    text_column: str = "text"
    target: str = ""
    """COLUMN=POSITIVE,NEGATIVE"""
    spurious: str = ""
    """COLUMN=POSITIVE,NEGATIVE"""
    classes: str = ""
    """COLUMN=A,B,C"""
    group_column: str = ""
    encoding: str = ""
    """Of ``texts``; "" is found out."""
    delimiter: str = ""
    """Of ``texts``; "" is found out."""
    metrics: tuple[str, ...] = ("shift", "tpp")
    selection: str = "attribution"
    protocol: str = "robust"
    ns: tuple[int, ...] = DEFAULT_NS
    seed: int = 0
    resamples: int = 1000
    texts_per_cell: int = 1500
    """Most texts drawn per quadrant or class from a data set that holds more."""
    device: str = "auto"
    dtype: str = "float32"
    probe_hook: str = ""
    """Hook whose pooled activation the probes read; "" is the hook that the SAEs read, or AUTO_PROBE."""
    kernel: str = AUTO_KERNEL
    """One of KERNELS, for a pass that is made; a stored recording names its own."""

    def __post_init__(self) -> None:
        get_protocol(self.protocol)
        if not self.ns or min(self.ns) < 1:
            raise ConfigError(f"N values are {list(self.ns)}; each must be at least 1: drop the others from --n")
        for metric in self.metrics:
            if metric not in ("shift", "tpp"):
                raise ConfigError(unknown_name("metric", metric, ("shift", "tpp")))
        if self.kernel not in KERNELS:
            raise ConfigError(unknown_name("kernel", self.kernel, KERNELS))

    def to_json(self) -> str:
        """Canonical JSON; ``RunConfig.from_json`` gives an equal value back. Probe hook and kernel stand there if named."""
        values = asdict(self)
        if not self.probe_hook:
            del values["probe_hook"]
        if self.kernel == AUTO_KERNEL:
            del values["kernel"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "RunConfig":
        """Inverse of ``to_json``; ConfigError for unknown keys and for anything but an object of settings."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise ConfigError("a config is no JSON object; give what RunConfig.to_json wrote")
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise ConfigError(f"config holds unknown keys {sorted(unknown)}; known keys: {sorted(known)}")
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except TypeError as error:
            raise ConfigError(f"config holds a value of another kind ({error}); give what to_json wrote") from None


def digest(value: Any) -> str:
    """SHA-256, in hex, of a JSON-serialisable value in canonical form."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprint(value: Any) -> str:
    """First 16 hex digits of ``digest``."""
    return digest(value)[:16]


def derive_rng(seed: int, *names: str | int) -> np.random.Generator:
    """Independent generator for one named stage of one seed, the same on every machine."""
    words = hashlib.sha256("/".join([str(seed), *map(str, names)]).encode()).digest()
    return np.random.default_rng(np.frombuffer(words, dtype=np.uint32))


def assets_dir() -> Path:
    """Folder of the bundled SAEs, texts, recordings, verdicts and results."""
    override = os.environ.get("SAEEVAL_ASSETS")
    return Path(override) if override else Path(__file__).resolve().parent.parent / "assets"


def cache_dir() -> Path:
    """Folder for what can be recomputed: dequantised model, recordings, probes. Created on first use.

    Where it cannot be created it is as good as empty, and what is written to it says why that fails.
    """
    root = os.environ.get("SAEEVAL_CACHE")
    path = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "saeeval"
    with suppress(OSError):
        path.mkdir(parents=True, exist_ok=True)
    return path


def store_path() -> Path:
    """$SAEEVAL_STORE, or store.sqlite in the user's data folder: what people decided."""
    if given := os.environ.get("SAEEVAL_STORE"):
        return Path(given)
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "saeeval" / "store.sqlite"


def tasks_folder() -> Path:
    """Folder of own tasks, beside the store."""
    return store_path().parent / "tasks"


def tasks_quota() -> int:
    """Most bytes that own tasks may take: $SAEEVAL_TASKS_MB megabytes, or TASKS_QUOTA. ConfigError for no number."""
    given = os.environ.get("SAEEVAL_TASKS_MB")
    if given is None:
        return TASKS_QUOTA
    if not given.isdecimal():
        raise ConfigError(f"SAEEVAL_TASKS_MB is '{given}'; give a whole number of megabytes")
    return int(given) * 1_000_000


def headline_n(ns: Sequence[int]) -> int:
    """The largest of ``ns`` up to HEADLINE_N, else the smallest."""
    return _largest(ns, HEADLINE_N)


def erasure_n(ns: Sequence[int]) -> int:
    """The largest of ``ns`` up to ERASURE_N, else the smallest."""
    return _largest(ns, ERASURE_N)


def _largest(ns: Sequence[int], most: int) -> int:
    return max([n for n in ns if n <= most] or [min(ns)])
