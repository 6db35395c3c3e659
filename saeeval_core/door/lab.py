"""The dashboard's lab on the recording of a notebook: its address, and its server where that is asked for."""

import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlencode

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, DTYPES, RunConfig
from saeeval_core.door.task import Task
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.texts.own import OwnTask, keep_task, same_task, suggested_name

_WAIT = 60.0
"""Seconds until a server that was started has to answer."""


@dataclass(frozen=True, eq=False, repr=False)
class Lab:
    """Where the lab is; ``str`` of it is the address."""

    address: str
    process: "subprocess.Popen[bytes] | None" = field(default=None)
    """The server, where it was started here."""

    def stop(self) -> None:
        """End the server that was started here; decisions are kept."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        how = "" if self.process else " (start the server with: saeeval app)"
        return f"{self.address}{how}"

    def _repr_html_(self) -> str:
        how = "" if self.process else " <small>(start the server with: <code>saeeval app</code>)</small>"
        link = escape(self.address, quote=True)
        return f"<a href='{link}' target='_blank' rel='noopener'>{link}</a>{how}"


def lab_of(config: RunConfig, sae: str, task: Task | str, page: str, *, name: str, port: int, start: bool) -> Lab:
    """The lab of one dictionary; the task is kept under ``name``. ConfigError where the page could not show the same."""
    if config.dtype not in DTYPES:
        raise ConfigError(f"the dashboard shows models in {' or '.join(DTYPES)}, not {config.dtype}; convert the model")
    wanted = {
        "model": (config.model, DEFAULT_MODEL),
        "sae": (sae, DEFAULT_SAE),
        "task": (task if isinstance(task, str) else kept(task, name).ref, DEFAULT_TASK),
        "protocol": (config.protocol, RunConfig().protocol),
        "seed": (str(config.seed), "0"),
        "probe": (config.probe_hook, ""),
        "dtype": (config.dtype, DTYPES[0]),
    }
    query = urlencode({key: value for key, (value, default) in wanted.items() if value != default})
    address = f"http://localhost:{port}/{page}" + (f"?{query}" if query else "")
    return Lab(address, _started(port) if start else None)


def kept(task: Task, name: str) -> OwnTask:
    """The task among those kept beside the store. DataError for a name that cannot be used or is taken."""
    there = same_task(task.texts, task.labels, task.text_column, task.group_column)
    if there is not None:
        return there
    return keep_task(
        name or suggested_name(task.texts.name),
        task.texts,
        task.labels,
        text_column=task.text_column,
        group_column=task.group_column,
        file_name=task.texts.source.removeprefix("file: "),
    )


def _started(port: int) -> "subprocess.Popen[bytes]":
    """The dashboard's server in a process of its own, answering. ConfigError for a port that is in use."""
    if _answers(port):
        raise ConfigError(
            f"something answers at port {port} already; if it is the dashboard, leave start out, else give another port"
        )
    process = subprocess.Popen([sys.executable, "-m", "app.launch", str(port)])
    until = time.monotonic() + _WAIT
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until:
            process.terminate()
            raise DataError(f"the dashboard did not start at port {port}; run: saeeval app --port {port}")
        time.sleep(0.2)
    return process


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
