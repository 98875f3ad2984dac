"""How long the disk takes to keep a small write, measured beside what a test measures."""

import os
import statistics
import tempfile
import time


def fdatasync_ms(directory, append_bytes=4096, flushes=100):
    """Median of appending to a file in `directory` and flushing it, in ms."""
    took_s = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(flushes):
            os.write(file.fileno(), bytes(append_bytes))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - started)
    return statistics.median(took_s) * 1000
