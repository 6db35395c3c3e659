"""What a pass will take: counted words, the pace of an earlier pass, and nothing where nothing is known."""

import json

import pytest

from saeeval_core.config import RunConfig
from saeeval_core.recordings.plan import count_tokens, known_pace, noting_pace, plan
from saeeval_core.recordings.recorder import Progress


def test_tokens_are_words_and_signs_up_to_what_is_read():
    assert count_tokens(["She works, he rests.", "word " * 500]) == 6 + 127
    assert count_tokens([]) == 0 and count_tokens(["one two"] * 10_000) == 20_000


def test_a_pass_leaves_its_pace_even_when_it_was_resumed(cache):
    config = RunConfig(model="org/model")
    texts = ["one two"] * 100
    assert plan(config, texts, 64).seconds is None and known_pace(config) is None
    heard = []
    told = noting_pace(config, heard.append)
    for done, seconds in ((600, 1.0), (800, 2.0)):
        told(Progress(done, 1000, seconds))
    assert known_pace(config) is None, "it is not through yet"
    told(Progress(1000, 1000, 3.0))
    assert known_pace(config) == pytest.approx(200) and len(heard) == 3
    found = plan(config, texts, 64)
    assert (found.texts, found.tokens, found.seconds, found.measured) == (100, 200, pytest.approx(1.0), True)
    assert (found.model_bytes, found.recording_bytes) == (None, 100 * 64 * 8)


def test_of_a_folder_the_weights_are_counted(cache, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2_000_000)
    found = plan(RunConfig(model=str(tmp_path)), ["one two"], None)
    assert found.model_bytes == 4_000_000 and not found.measured and found.seconds > 0
