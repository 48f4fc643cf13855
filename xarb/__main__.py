"""The `xarb` command: runs the command line and turns our errors into one line and an exit code."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line.

    Exit codes: 0 good, 1 refused or failed check, 2 wrong use, 3 killed by a person, 130 interrupted, 141 when who read standard output
    left before all of it was written.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads for matrices, which we have none of: they spin for 0.1 s
    from xarb.errors import InvariantBroken, XarbError

    for name in ("stdout", "stderr"):  # a process may be begun with either closed
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    try:
        from xarb.cli import app

        app()
    except InvariantBroken:
        raise  # a bug of ours: the traceback is what helps
    except XarbError as error:
        print(f"xarb: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before a command began: commands turn it into Interrupted
        print("xarb: interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:  # a full disk, a folder without permission
        print(f"xarb: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
