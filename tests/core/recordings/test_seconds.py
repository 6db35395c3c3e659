"""The pass says where its seconds went."""

import time

from saeeval_core.recordings.recorder import record_pass
from saeeval_core.recordings.seconds import PassSeconds, Stopwatch
from saeeval_core.saes.loaded import load_sae


def test_a_pass_reports_the_seconds_of_its_parts(tiny_model, tiny_sae_dirs):
    begun = time.perf_counter()
    made = record_pass(tiny_model, [], ["river stone", "the old town"], "print", [load_sae(str(tiny_sae_dirs["topk"]))])
    elapsed = time.perf_counter() - begun
    found = made.seconds.to_dict()
    assert set(found) == {"model", "residuals", "encode", "pooling", "contexts"}
    assert all(v > 0 for v in found.values()) and sum(found.values()) <= elapsed


def test_parts_add_up_over_many_laps():
    watch = Stopwatch("cpu")
    for _ in range(2500):
        with watch.part("encode"):
            pass
    once, again = watch.total(), watch.total()
    assert isinstance(once, PassSeconds) and once == again and once.encode > 0 and once.saes == once.encode
    assert once.model == once.contexts == 0
