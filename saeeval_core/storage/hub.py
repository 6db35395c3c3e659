"""One-line errors for failures of the Hugging Face Hub: no network, gated or private, missing."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.redaction import redacted


@contextmanager
def fail_fast() -> Iterator[None]:
    """Use the local cache only where the Hub's name does not resolve: its client would retry for 20 to 45 s."""
    import huggingface_hub.constants as hub_constants

    before = hub_constants.HF_HUB_OFFLINE
    hub_constants.HF_HUB_OFFLINE = before or not _resolves(hub_constants.ENDPOINT)
    try:
        yield
    finally:
        hub_constants.HF_HUB_OFFLINE = before


@contextmanager
def hub_errors(what: str, repo: str, no_file: str) -> Iterator[None]:
    """Run a download of ``what`` from ``repo``; every failure of the Hub becomes an UnsupportedSAE with one line.

    ``no_file``: the message for a repository that exists but lacks the file.
    """
    import huggingface_hub.constants as hub_constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    offline = hub_constants.HF_HUB_OFFLINE or not _resolves(hub_constants.ENDPOINT)
    try:
        with fail_fast():
            yield
    except HFValidationError as error:
        why = " ".join(str(error).split())[:160]
        raise UnsupportedSAE(f"{what}: {repo} can be no repository of the Hub ({why}); check its name") from None
    except LocalEntryNotFoundError:
        raise UnsupportedSAE(_offline_line(what)) from None
    except EntryNotFoundError:
        raise UnsupportedSAE(no_file) from None
    except GatedRepoError:
        raise UnsupportedSAE(_token_line(what, repo)) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        # Without a token the Hub answers 401 both for a private repository and for one that does not exist.
        if status in (401, 403):
            raise UnsupportedSAE(_token_line(what, repo)) from None
        if status == 404:
            raise UnsupportedSAE(f"{what}: the Hub has no repository '{repo}'; check its name") from None
        raise UnsupportedSAE(f"{what}: the Hub answered {status}; try again later or give a local folder") from None
    except (OSError, HTTPError) as error:
        if offline:
            raise UnsupportedSAE(_offline_line(what)) from None
        reason = " ".join(redacted(str(error)).split())[:120]
        raise UnsupportedSAE(f"{what} cannot be fetched ({reason}); try again or give a local folder") from None


def _offline_line(what: str) -> str:
    return f"{what} is not on this machine and the Hub cannot be reached; copy it here and give the path of its folder"


def _token_line(what: str, repo: str) -> str:
    return f"{what}: {repo} is gated, private or does not exist (401/403); accept its licence and set HF_TOKEN"


def _resolves(endpoint: str) -> bool:
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    host = endpoint.split("//")[-1].split("/")[0].rsplit(":", 1)[0]
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
