"""What ``saeeval run`` writes besides its tables."""

import json

from saeeval_core.formats.saebench_files import load_rows


def test_saebench_files_go_into_the_folder_named(call, args, tmp_path):
    folder = tmp_path / "new" / "saebench"
    args[args.index("--metrics") + 1] = "shift,tpp"
    code, out, err = call(*args, "--classes", "meal=tea,soup", "--n", "1,2", "--format", "saebench", "--json", folder)
    assert code == 0, err
    assert "SHIFT score S" in out
    kinds = {json.loads(p.read_text())["eval_type_id"]: p for p in folder.iterdir()}
    assert sorted(kinds) == ["scr", "tpp"]
    for metric, path in (("shift", kinds["scr"]), ("tpp", kinds["tpp"])):
        assert path.name.endswith("_eval_results.json")
        (row,) = [r for r in load_rows(path) if r.n == 2]
        assert (row.metric, row.role) == (metric, "imported")
        assert abs(json.loads(path.read_text())["datetime_epoch_millis"] / 1000 - path.stat().st_mtime) < 60
