"""Keys out of text, however a server or a library spells them."""

import base64
import html
import json
from urllib.parse import quote

import pytest

from saeeval_core.errors import ModelError
from saeeval_core.redaction import HIDDEN, redacted
from saeeval_core.storage.notices import notice, notices

pytestmark = pytest.mark.hostile
KEYS = {"plain": "sk-test-Very.Secret/0123+45=", "odd": "k'e\"y\\with&all<of>it", "not ascii": "schlüssel-€-𝄞-0123"}
SPELLED = {
    "as it is": str,
    "repr": repr,
    "repr of its bytes": lambda k: repr(k.encode()),
    "ascii": ascii,
    "json": json.dumps,
    "json in json": lambda k: json.dumps(json.dumps(k)),
    "repr of json": lambda k: repr(json.dumps(k)),
    "every character escaped": lambda k: "".join(f"\\u{ord(c):04X}" if ord(c) < 65536 else c for c in k),
    "percent": lambda k: quote(k, safe=""),
    "percent, small": lambda k: quote(k, safe="").lower() if k.islower() else quote(k, safe=""),
    "percent twice": lambda k: quote(quote(k, safe=""), safe=""),
    "html": lambda k: "".join(f"&#{ord(c)};" for c in k),
    "html, hexadecimal": lambda k: "".join(f"&#x{ord(c):X};" for c in k),
    "utf-8 read as latin-1": lambda k: k.encode().decode("latin-1"),
    "utf-8 read as latin-1, in repr": lambda k: repr(k.encode().decode("latin-1")),
    "a header": lambda k: f"{{'x-api-key': {k!r}, 'authorization': 'Bearer {k}'}}",
    "base64": lambda k: base64.b64encode(k.encode()).decode(),
    "base64 of addresses": lambda k: base64.urlsafe_b64encode(k.encode()).decode(),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("spelled", SPELLED)
def test_a_key_is_found_however_it_is_spelled(spelled, kind):
    shown = SPELLED[spelled](KEYS[kind])
    clean = redacted(f"before <{shown}> after", KEYS[kind])
    assert HIDDEN in clean
    assert shown not in clean
    assert clean.startswith("before <") and clean.endswith("> after")
    inner = clean.replace(HIDDEN, "")
    assert not any(KEYS[kind][i : i + 4] in html.unescape(inner) for i in range(len(KEYS[kind]) - 3))


def test_a_key_with_a_line_break_is_found_line_by_line():
    assert redacted("first: abcdefgh, then: ijklmnop", "abcdefgh\nijklmnop") == f"first: {HIDDEN}, then: {HIDDEN}"


@pytest.mark.parametrize(
    "text",
    [
        "invalid token hf_abcdefghijklmnop",
        "x-api-key: sk-ant-api03-AbCdEfGh",
        "proxy http://ada:secret@proxy.example:80",
    ],
)
def test_what_looks_like_a_key_is_hidden_though_nobody_gave_it(text):
    clean = redacted(text)
    assert HIDDEN in clean
    assert not any(secret in clean for secret in ("abcdefghijkl", "AbCdEfGh", "secret"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a latent of half_open texts",
        "no key",
        "http://localhost:8501/?task=bios",
        "config.json lacks hf_hook_point_in",
    ],
)
def test_other_text_stays(text):
    assert redacted(text, "", "a") == text


def test_errors_and_notices_never_show_a_key_of_the_environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "token-of-mine-0123")
    assert str(ModelError("401 for token-of-mine-0123")) == f"401 for {HIDDEN}"
    notice("a test of notices: token-of-mine-0123")
    assert f"a test of notices: {HIDDEN}" in notices()
    assert not any("token-of-mine" in n for n in notices())


def test_long_texts_of_backslashes_take_no_time():
    assert redacted("\\" * 300_000 + "%25" * 100_000, "sk-test-0123456789").startswith("\\")
