"""``redacted``: text without the credentials that addresses in it may carry."""

import re

#: ``scheme://user:password@host``; everything up to the last ``@`` of the authority goes, names included.
_AUTHORITY = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#'\"]*@")
#: Values of parameters that are secrets by their name, in addresses, in drivers' messages and in shells.
_SECRET = re.compile(
    r"(?P<name>\b[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature|\bsig)[\w-]*\s*=\s*)"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """``text`` with ``***`` in place of user information in addresses, and of values named like a secret."""
    return _SECRET.sub(r"\g<name>***", _AUTHORITY.sub(r"\g<scheme>***@", text))
