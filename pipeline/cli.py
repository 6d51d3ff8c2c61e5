"""How every stage starts and ends: identity arguments in, one clear line out when something is wrong."""

import argparse
import errno
import sys
from collections.abc import Callable

from pipeline.errors import LacunaError, ParamsError
from pipeline.paths import PARAMS


def run(main: Callable[..., None], *identity: str, positional: str | None = None) -> None:
    """Call `main` with its arguments from the command line; exit non-zero with one line if it cannot finish.

    Args:
        main: the stage; the first line of its docstring is the help.
        identity: names of `--name VALUE` arguments.
        positional: name of an argument without a dash.

    Stage arguments say *which* (`--corpus demo`), never *how*: settings are in params.yaml.
    """
    parser = argparse.ArgumentParser(description=(main.__doc__ or "").strip().splitlines()[0])
    if positional:
        parser.add_argument(positional)
    for name in identity:
        parser.add_argument(f"--{name}", required=True)
    arguments = vars(parser.parse_args())
    before = _params()
    try:
        main(**arguments)
        if positional is None and _params() != before:
            raise ParamsError(f"{PARAMS}: changed while this ran, so what was made is not what it says; run again")
    except LacunaError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: nothing half-written is left; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        sys.exit(f"error: {error.filename or 'disk'}: the disk is full; free some space and run again")


def _params() -> bytes | None:
    return PARAMS.read_bytes() if PARAMS.is_file() else None
