"""How every stage starts and ends: identity arguments in, one clear line out when something is wrong."""

import argparse
import errno
import sys
from collections.abc import Callable

from pipeline.errors import LacunaError


def run(main: Callable[..., None], *identity: str) -> None:
    """Call `main` with the values of `--{identity}` arguments; exit non-zero with one line if it cannot finish.

    Stage arguments say *which* (`--corpus demo`), never *how*: settings are in params.yaml.
    """
    parser = argparse.ArgumentParser(description=(main.__doc__ or "").strip().splitlines()[0])
    for name in identity:
        parser.add_argument(f"--{name}", required=True)
    arguments = vars(parser.parse_args())
    try:
        main(**arguments)
    except LacunaError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: nothing half-written is left; `dvc repro` goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.exit(f"error: {error.filename or 'disk'}: the disk is full; free some space and run again")
