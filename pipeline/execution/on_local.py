"""Jobs in worker processes of this machine, or in this process where one at a time is enough.

Every worker has a number in `LACUNA_WORKER`, by which it chooses among several GPUs.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from pipeline.errors import DataError
from pipeline.execution.threads import THREAD_LIMITS, one_thread

Job = TypeVar("Job")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1


def run(function: Callable[[Job], Result], jobs: Iterator[Job], at_once: int, ahead: int) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order; as `run_jobs`."""
    first = list(islice(jobs, 2))
    if at_once == 1 or len(first) < 2:
        one_thread()
        for job in first:
            yield function(job)
        for job in jobs:
            yield function(job)
        return
    for name in THREAD_LIMITS:
        os.environ[name] = "1"
    others = set(multiprocessing.active_children())
    context = _context()
    pool = ProcessPoolExecutor(at_once, context, _start_worker, (os.getpid(), context.Value("i", 0)))
    pending: deque[Future[Result]] = deque(pool.submit(function, job) for job in first)
    try:
        while pending:
            unfinished = sum(not future.done() for future in pending)
            wanted = min(2 * at_once - unfinished, ahead * at_once - len(pending))
            pending.extend(pool.submit(function, job) for job in islice(jobs, max(0, wanted)))
            if pending[0].done():
                yield pending.popleft().result()
            else:  # a long job holds up no other
                wait([future for future in pending if not future.done()], return_when=FIRST_COMPLETED)
    except BrokenProcessPool:
        raise DataError(
            "a worker process was killed from outside (out of memory?); run again to go on, with LACUNA_JOBS=1 if it "
            "happens again"
        ) from None
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:  # nobody waits for what they are doing
            worker.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context() -> Any:
    """Fork where that is safe (it saves the seconds of importing torch again), else start afresh."""
    torch = sys.modules.get("torch")
    safe = sys.platform == "linux" and (torch is None or not torch.cuda.is_available())
    return multiprocessing.get_context("fork" if safe else "spawn")


def _start_worker(parent: int, started: Any) -> None:
    """Use one thread, ignore Ctrl-C (the parent handles it) and die with the parent, however it dies."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    with started.get_lock():
        os.environ["LACUNA_WORKER"] = str(started.value)
        started.value += 1
