"""What secrets look like where nobody says that they are some: in texts of errors, which hide them, and in configs, which are refused."""

from __future__ import annotations

import re
from typing import Final

# Each stays fast on any text: what stands before its end is of bounded length.
PRIVATE_KEY: Final = re.compile(r"(?<![0-9a-zA-Z])(?:0[xX])?[0-9a-fA-F]{64}(?![0-9a-zA-Z])")  # of a chain
PRIVATE_KEY_TEXT: Final = re.compile(r"-----BEGIN[^-]*-----.*?(-----END[^-]*-----|\Z)", re.DOTALL)  # PEM
PASSWORD_IN_ADDRESS: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,15}://[^\s/@:]{0,255}:)[^\s/@]{1,255}@")
# As providers of nodes and of webhooks have it: 24 and more letters and digits, some of them digits, as a part of the path.
KEY_IN_ADDRESS: Final = re.compile(
    r"""(?i)\b((?:https?|wss?)://[^\s?#"']{0,255}?/)(?=[^\s/?#"']{0,255}\d)[\w-]{24,}(?![^\s/?#"',;)])"""
)
