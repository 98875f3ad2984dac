"""Runs the cases of one test program: a line for each, a summary, and an exit status that fails
when one did.

A case is a function that returns a short text of what it saw, and raises when that is wrong.
"""

import sys
import time
import traceback


class Cases:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.started = time.monotonic()

    def run(self, name, case, *arguments):
        """Runs one case; what it raises is its failure, and the next one runs all the same."""
        try:
            detail = case(*arguments)
        except Exception as error:
            self.failed.append(name)
            print(f"FAIL {name} — {_one_line(error)}", flush=True)
        else:
            self.passed += 1
            print(f"PASS {name} — {detail or 'as expected'}", flush=True)

    def finish(self):
        """Prints the summary and ends the program. Nothing is ever skipped here."""
        seconds = time.monotonic() - self.started
        print(f"{self.passed} passed, {len(self.failed)} failed, 0 skipped ({seconds:.0f} s)")
        sys.exit(1 if self.failed or not self.passed else 0)


def _one_line(error):
    text = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, AssertionError) and str(error):
        return text[:1000]
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}"
    return f"{type(error).__name__}: {text[:1000]} ({where})"
