"""What is written about the code: docstrings, the README's commands, and nothing of the machine it was made on."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for folder in ("saeeval_core", "app") for p in (ROOT / folder).rglob("*.py"))
MAX_BYTES = 1_000_000
BINARY = {".safetensors", ".parquet", ".png", ".gif", ".db", ".ico", ".woff2", ".gz"}


def tracked() -> list[Path]:
    """Files of the repository; all files beside it when this is not a git checkout."""
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_public_names_say_what_they_are(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not tree.body:
        return
    assert ast.get_docstring(tree), "the module"
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    public += [
        m
        for c in public
        if isinstance(c, ast.ClassDef) and "Protocol" not in "".join(map(ast.unparse, c.bases))
        for m in c.body
        if isinstance(m, ast.FunctionDef) and not m.name.startswith("_")
    ]
    assert [n.name for n in public if not ast.get_docstring(n)] == []


def test_no_file_knows_the_machine_it_was_made_on():
    # Built from parts, so that this file does not find itself.
    places = re.compile(
        "|".join((r"(?<![\w.])/" + name + r"/") for name in ("work", "root", "home/[a-z]+", "tmp/[a-z]", "Users"))
    )
    found = []
    for path in tracked():
        if path.suffix in BINARY or path.stat().st_size > MAX_BYTES:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if places.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_no_text_refers_to_pages_outside_the_repository():
    # Built from parts, so that this file does not find itself.
    pages = [f"{'DES'}IGN {word}" for word in ("§", "section")] + [
        f"{name}.{'md'}" for name in ("paper", "stack", "house")
    ]
    found = [
        f"{path.relative_to(ROOT)}: {page}"
        for path in tracked()
        if path.suffix in (".py", ".md", ".js")
        for page in pages
        if page in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_docstrings_name_headings_of_the_method_that_there_are():
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^## (.+)$", method, re.M))
    named = {
        heading
        for path in SOURCES
        for heading in re.findall(r'docs/method\.md,\s+"([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert named and {" ".join(heading.split()) for heading in named} <= headings


def test_source_files_stay_small():
    big = {
        str(p.relative_to(ROOT)): p.stat().st_size for p in tracked() if p.suffix == ".py" and p.stat().st_size > 60_000
    }
    assert big == {}


def readme() -> str:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not text.strip():
        pytest.skip("README.md is still empty")
    return text


def test_the_readme_names_only_commands_and_options_there_are():
    import typer.main

    from saeeval_core.cli.main import app

    group = typer.main.get_command(app)
    known = {name: {o for p in c.params for o in (*p.opts, *p.secondary_opts)} for name, c in group.commands.items()}
    for block in re.findall(r"```[a-z]*\n(.*?)```", readme(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"\$?\s*(?:\.venv/bin/)?saeeval\s+([a-z-]+)(.*)", line)
            if match is None or match[1].startswith("-"):
                continue
            assert match[1] in known, f"no command '{match[1]}': {line}"
            options = {o.split("=")[0] for o in re.findall(r"(?<=\s)--[a-z-]+", match[2].split("#")[0])} - {"--help"}
            assert options <= known[match[1]], line


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", readme()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (ROOT / target).exists(), target


def test_make_targets_of_the_readme_exist():
    makefile = ROOT / "Makefile"
    if not makefile.exists():
        pytest.skip("no Makefile yet")
    targets = set(re.findall(r"^([a-z-]+):", makefile.read_text(), re.M))
    assert set(re.findall(r"`make ([a-z-]+)`", readme())) <= targets
