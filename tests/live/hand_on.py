"""The command of an alert: hands what it is told, and what it is given, to an address."""

from __future__ import annotations

import json
import os
import sys
import urllib.request

if __name__ == "__main__":
    body = json.dumps({"text": sys.stdin.read(), "environment": dict(os.environ)}).encode()
    request = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})  # noqa: S310  # a test's listener
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310  # same
        pass
