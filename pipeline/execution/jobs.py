"""Run independent jobs in worker processes of one thread each; results come in the order of the jobs.

`LACUNA_JOBS` sets the number of workers (default: the processors at hand). It never changes a result.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

from pipeline.errors import DataError, ParamsError

Job = TypeVar("Job")
Result = TypeVar("Result")

_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_PR_SET_PDEATHSIG = 1


def workers(at_most: int | None = None) -> int:
    """How many jobs run at once: `LACUNA_JOBS`, else one per processor but not above `at_most`.

    Raises:
        ParamsError: `LACUNA_JOBS` is not a positive whole number.
    """
    wanted = os.environ.get("LACUNA_JOBS")
    if wanted is None:
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(here, at_most or here)
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ParamsError(f"LACUNA_JOBS: found '{wanted}', expected a positive whole number")
    return int(wanted)


def run_jobs(function: Callable[[Job], Result], jobs: Iterable[Job], at_most: int | None = None) -> Iterator[Result]:
    """Yield `function(job)` for every job, in order; at most a few results wait in memory.

    Args:
        function: importable by name (it is sent to other processes).
        jobs: small picklable descriptions; workers read the data themselves.
        at_most: upper bound of workers unless `LACUNA_JOBS` is set.

    Raises:
        DataError: a worker was killed from outside.
        Exception: whatever a job raises; the others are cancelled.
    """
    queue = iter(jobs)
    first = list(islice(queue, 2))
    if workers(at_most) == 1 or len(first) < 2:
        one_thread()
        for job in first:
            yield function(job)
        for job in queue:
            yield function(job)
        return
    for name in _THREAD_LIMITS:
        os.environ[name] = "1"
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers(at_most), _context(), _start_worker, (os.getpid(),))
    pending: deque[Future[Result]] = deque(pool.submit(function, job) for job in first)
    try:
        pending.extend(pool.submit(function, job) for job in islice(queue, 2 * workers(at_most)))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(function, job) for job in islice(queue, 1))
    except BrokenProcessPool:
        raise DataError(
            "a worker process was killed from outside (out of memory?); run again to go on, with LACUNA_JOBS=1 if it "
            "happens again"
        ) from None
    except (KeyboardInterrupt, GeneratorExit):
        for worker in set(multiprocessing.active_children()) - others:  # nobody waits for what they are doing
            worker.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Fork where that is safe (it saves the seconds of importing torch again), else start afresh."""
    torch = sys.modules.get("torch")
    safe = sys.platform == "linux" and (torch is None or not torch.cuda.is_available())
    return multiprocessing.get_context("fork" if safe else "spawn")


def one_thread() -> None:
    """Pin this process to one compute thread, so that results do not depend on the number of processors."""
    for name in _THREAD_LIMITS:  # for libraries that are not loaded yet
        os.environ[name] = "1"
    threadpool_limits(1)  # for those that are
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)


def _start_worker(parent: int) -> None:
    """Use one thread, ignore Ctrl-C (the parent handles it) and die with the parent, however it dies."""
    one_thread()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
