"""Scripts of the components: one inline script each, joined from modules that really fit together."""

import re
from collections import Counter

import pytest

from app.components import _HERE as COMPONENTS
from app.components import BundleError, script, styles

ENTRIES = ("lab/main.js", "tpp/main.js", "latent/main.js")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_component_is_one_script_with_one_export(entry):
    joined = script(entry)
    assert re.findall(r"^(?:import|export)\b.*", joined, re.M) == ["export default function (component) {"]
    declared = Counter(re.findall(r"^(?:async )?(?:function|const|let|class) ([\w$]+)", joined, re.M))
    assert declared and max(declared.values()) == 1


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_a_component_uses_is_in_its_script_once(entry):
    joined = script(entry)
    assert joined.count("function el(") == 1 and joined.count("function isDark(") == 1
    assert ("function press(" in joined) == (entry != "latent/main.js")


def files(folder, **texts):
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.with_suffix(".js").parent.mkdir(exist_ok=True)
        path.with_suffix(".js").write_text(text)
    return folder


MAIN = "\nexport default function () {\n  return b(1);\n}\n"


def test_imports_come_first_and_once_in_their_order(tmp_path):
    files(
        tmp_path,
        main='import { b } from "./parts/b.js";\nimport {\n  a,\n  A,\n} from "./parts/a.js";\nconst C = [a, A];\n'
        + MAIN,
        parts__a="export const A = 1;\nexport function a() {\n  const export_me = 1;\n  return export_me;\n}\n",
        parts__b='import { A } from "./a.js";\nconst hidden = 2;\nexport async function b(x) {\n  return x + A + hidden;\n}\n',
    )
    joined = script("main.js", tmp_path)
    order = [joined.index(s) for s in ("const A = 1", "function a()", "const hidden", "async function b(", "const C")]
    assert order == sorted(order) and joined.count("const A = 1") == 1
    assert "import" not in joined and joined.count("export ") == 1


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"main": 'import { b } from "./b.js";\n' + MAIN}, "b.js, which is not there"),
        ({"main": 'import { b } from "./b.js";\n' + MAIN, "b": "function b() {}\n"}, "does not export"),
        (
            {"main": 'import { b } from "./b.js";\nfunction c() {}\n' + MAIN, "b": "export const b = 1;\nlet c;\n"},
            "'c'",
        ),
        ({"main": "function c() {}\nconst c = 1;\n" + MAIN}, "'c' is declared by main.js and by main.js"),
        ({"main": 'import b from "./b.js";\n' + MAIN, "b": "export default 1;\n"}, "cannot join"),
        ({"main": 'import { b as c } from "./b.js";\n' + MAIN, "b": "export const b = 1;\n"}, "'b as c'"),
        ({"main": 'import "./b.js";\n' + MAIN, "b": ""}, "cannot join"),
        ({"main": 'import { b } from "elsewhere";\n' + MAIN}, "cannot join"),
        (
            {"main": 'import { b } from "./b.js";\n' + MAIN, "b": "export const b = 1;\nexport default 2;\n"},
            "cannot join",
        ),
        ({"main": 'import { b } from "./b.js";\n' + MAIN, "b": "const c = 1;\nexport { c as b };\n"}, "one name"),
        ({"main": "const b = 1,\n  c = 2;\n" + MAIN}, "one name"),
        ({"main": "const { b } = window;\n" + MAIN}, "one name"),
        (
            {
                "main": 'import { b } from "./b.js";\n' + MAIN,
                "b": 'import { c } from "./c.js";\nexport const b = c;\n',
                "c": 'import { b } from "./b.js";\nexport const c = b;\n',
            },
            "imports itself",
        ),
    ],
)
def test_what_does_not_fit_together_is_an_error(tmp_path, texts, says):
    with pytest.raises(BundleError, match=says):
        script("main.js", files(tmp_path, **texts))


def test_style_sheets_begin_with_the_colours_of_their_component():
    sheet = styles(".tpp", "tpp/tpp.css")
    assert sheet.startswith(":is(.tpp) {--ablate:") and ":is(.tpp)[data-mode=dark]" in sheet and ".grid" in sheet


@pytest.mark.parametrize("component", ["lab", "tpp"])
def test_every_property_that_is_used_is_given(component):
    names = sorted(f"{component}/{p.name}" for p in (COMPONENTS / component).glob("*.css"))
    sheets = styles(f".{component}", *names)
    used = set(re.findall(r"var\(--([\w-]+)", sheets + script(f"{component}/main.js")))
    given = set(re.findall(r"--([\w-]+):", sheets)) | {"share", "k", "quadrant-"}
    assert {u for u in used if not u.startswith("st-")} <= given
