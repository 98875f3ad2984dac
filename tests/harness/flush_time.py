"""How long the disk takes to keep a small write, measured beside what a test measures."""

import os
import statistics
import tempfile
import time


class FlushTimer:
    """Appends to a file in a directory and flushes it."""

    def __init__(self, directory, append_bytes=4096):
        self.file = tempfile.TemporaryFile(dir=directory)
        self.block = bytes(append_bytes)

    def once_s(self):
        os.write(self.file.fileno(), self.block)
        started = time.perf_counter()
        os.fdatasync(self.file.fileno())
        return time.perf_counter() - started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def fdatasync_ms(directory, append_bytes=4096, flushes=100):
    """Median of appending to a file in `directory` and flushing it, in ms."""
    with FlushTimer(directory, append_bytes) as flush:
        return statistics.median(flush.once_s() for _ in range(flushes)) * 1000
