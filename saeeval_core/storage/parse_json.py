"""JSON from outside: everything that cannot be used is one kind of error with one line."""

import json
import re
from typing import Any

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class NotJson(ValueError):
    """Text that is not JSON, or JSON that nothing here can hold; the message is the cause in a few words."""


def parse_json(content: str | bytes) -> Any:
    """The values of a JSON text, UTF-8 where it is bytes.

    NotJson for another syntax or encoding, lists in lists without end, numbers of thousands of digits, and half
    characters (lone surrogates), which no file and no page can hold.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        found = json.loads(text)
        if _HALF.search(text):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("it is not UTF-8") from None
    except UnicodeEncodeError:
        raise NotJson("it holds half characters (lone surrogates)") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError:
        raise NotJson("it holds a number of too many digits") from None
    return found
