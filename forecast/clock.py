"""Where a process's time goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds by activity since they were last asked for.

    On a GPU what waits for its kernels pays for them.
    """

    def __init__(self) -> None:
        self._seconds = defaultdict[str, float](float)
        self._since = time.perf_counter()

    @contextmanager
    def spent(self, activity: str) -> Iterator[None]:
        """Book the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[activity] += time.perf_counter() - began

    def shares(self) -> tuple[float, dict[str, float]]:
        """Seconds since the last call, and the share of each activity; then starts anew."""
        now = time.perf_counter()
        elapsed, seconds = now - self._since, self._seconds
        self._since, self._seconds = now, defaultdict[str, float](float)
        return elapsed, {activity: spent / elapsed for activity, spent in seconds.items()}
