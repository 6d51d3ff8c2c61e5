"""One compute thread per process, so that results do not depend on the number of processors."""

import os
import sys

from threadpoolctl import threadpool_limits

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def one_thread() -> None:
    """Pin this process to one compute thread."""
    for name in THREAD_LIMITS:  # for libraries that are not loaded yet
        os.environ[name] = "1"
    threadpool_limits(1)  # for those that are
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)
