"""What is a secret, by its name and by its place in an address, and ``redacted``: text without it."""

import re

# Texts may be long and without spaces, such as dumped bytes. A name is therefore tried from its first character only,
# and what is secret about it is looked for once: each pattern takes time in proportion to the text.

#: ``scheme://user:password@host``; everything up to the last ``@`` of the authority goes, names included.
_AUTHORITY = re.compile(r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z0-9+.-]+://)[^\s/?#'\"]*@")
#: In the settings of an address more is secret than elsewhere, where ``sigma`` and ``key`` are common names.
_SETTING = "pass|pwd|secret|token|key|auth|user|cred|sig"
_QUERY = re.compile(rf"(?P<name>[?&;](?=[\w.%-]*(?:{_SETTING}))[\w.%-]+=)(?P<value>[^\s&;#,'\"]+)", re.IGNORECASE)
#: Values of parameters that are secrets by their name, in drivers' messages and in shells.
_SECRET = re.compile(
    r"(?P<name>(?<![\w-])(?=[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|signature|\bsig(?=\s*=)))"
    r"[\w-]+\s*=\s*)"
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """``text`` with ``***`` in place of user information in addresses, and of values named like a secret."""
    for pattern, kept in ((_AUTHORITY, r"\g<scheme>***@"), (_QUERY, r"\g<name>***"), (_SECRET, r"\g<name>***")):
        text = pattern.sub(kept, text)
    return text


def is_secret_setting(name: str) -> bool:
    """Whether the value of the setting ``name`` in an address is not for others to read."""
    return re.search(_SETTING, name, re.IGNORECASE) is not None
