"""The ``saeeval`` command: its commands, and bad input as one line on stderr with exit code 1, never a traceback.

Nothing heavy is imported before a command needs it, so that ``saeeval --help`` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from saeeval_core.cli import commit, compare, export, hold, judge, listing, run, store, tasks, train
from saeeval_core.cli.console import console
from saeeval_core.errors import SaeEvalError, one_line

_STOPPED = "stopped; what was finished is kept, and the same command continues from there"


def app_(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8501,
    open_browser: Annotated[bool, typer.Option(help="Open the dashboard in a browser.")] = True,
) -> None:
    """Open the dashboard on this machine."""
    from app.launch import main as launch

    console.print(f"The dashboard: http://localhost:{port} (Ctrl-C ends it)", markup=False)
    launch(port=port, open_browser=open_browser)


def serve(
    address: Annotated[
        str, typer.Option(help="Address of this machine to listen on; others reach it there.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8501,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="No decision, upload, run, download, judge, or text of one's own.")
    ] = False,
    root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder below which models and SAEs may lie. Repeatable; without: bundled and Hub only."),
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Address that people type, such as https://lab.example.org. Repeatable.")
    ] = None,
) -> None:
    """Serve the dashboard to a lab; names come from Streamlit's login where secrets.toml has [auth]."""
    from app.launch import Serving
    from app.launch import serve as launch

    serving = Serving(address, port, read_only, tuple(root or ()), tuple(origin or ()))
    launch(serving, lambda line: console.print(line, markup=False, soft_wrap=True))


COMMANDS = {
    "list": listing.list_,
    "run": run.run,
    "train-sae": train.train_sae,
    "bench": compare.bench,
    "judge": judge.judge,
    "commit": commit.commit,
    "hold": hold.hold,
    "steer": hold.steer,
    "import-explanations": judge.import_explanations,
    "agreement": judge.agreement,
    "export": export.export,
    "suite": train.suite,
    "sweep": compare.sweep,
    "validate": compare.validate,
    "faults": compare.faults,
    "report": compare.report,
    "build-bundle": train.build_bundle,
    "app": app_,
    "serve": serve,
}
"""Name -> function, in the order of the help."""
app = typer.Typer(
    help="Judge sparse autoencoders by what they let people do: SHIFT and TPP scores with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(store.app, name="store")
app.add_typer(tasks.app, name="task")


def main() -> None:
    """Entry point; ``SaeEvalError`` is the only error shown without a traceback."""
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer turns Ctrl-C into this exit code
            raise KeyboardInterrupt
        if code:
            sys.exit(code)
    except SaeEvalError as error:
        _stop(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        _stop(_STOPPED, 130)
    except OSError as error:
        _stop(f"{error.strerror or error}: {error.filename or 'file'}; check the path and the free space", 1)
    except Exception as error:
        # Click's own usage errors carry an exit code; anything else is a bug and keeps its traceback.
        if not hasattr(error, "exit_code"):
            raise
        error.show() if hasattr(error, "show") else None
        sys.exit(error.exit_code)


def _stop(line: str, code: int) -> None:
    sys.stderr.write(f"saeeval: {one_line(line)}\n")
    sys.stderr.flush()
    # Libraries' background threads must not delay or decorate the exit.
    os._exit(code) if code == 130 else sys.exit(code)
