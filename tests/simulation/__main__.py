"""Many simulated worlds: `python -m tests.simulation [COUNT [FIRST]] [--fresh COUNT] [--processes COUNT]`.

Each seed in which something was broken is printed with the line that shows it. The exit code is 1 where a world was broken.
"""

from __future__ import annotations

import sys

from tests.simulation.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], lambda line: print(line, flush=True)))  # noqa: T201  # the report of a command
