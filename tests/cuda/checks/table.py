"""Rows side by side, and the table of what they came to."""

import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from .program import Stopped
from .verdicts import Differs, LeftOut

PASSED, FAILED, LEFT_OUT = "passed", "FAILED", "left out"


class Result:
    """What a row came to."""

    def __init__(self, name, verdict, seconds, note):
        self.name, self.verdict, self.seconds, self.note = name, verdict, seconds, note

    def line(self, width):
        return f"{self.name:<{width}}  {self.seconds:6.1f} s  {self.verdict:<8}  {self.note}"


def measure(name, function):
    """Runs a row. The times of runs that several rows share count for the first of them."""
    start = time.monotonic()
    try:
        verdict, note = PASSED, function()
    except Differs as error:
        verdict, note = FAILED, str(error)
    except LeftOut as reason:
        verdict, note = LEFT_OUT, str(reason)
    except Stopped:
        raise
    except Exception as error:  # a mistake of a row's is the row's, and the others go on
        verdict, note = FAILED, f"{type(error).__name__}: {error}"
    return Result(name, verdict, time.monotonic() - start, note)


def side_by_side(rows, jobs, program):
    """The results of all rows, in their order; each is shown when it is there."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(measure, name, function): place for place, (name, function) in enumerate(rows)}
        try:
            results = [None] * len(rows)
            for future in as_completed(futures):
                result = results[futures[future]] = future.result()
                print(result.line(30), flush=True)
            return results
        except BaseException:
            # First, as the pool waits for rows that wait for children.
            program.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def table(results, head, seconds):
    """All lines, with a sum below."""
    width = max((len(it.name) for it in results), default=0)
    counts = [sum(it.verdict == verdict for it in results) for verdict in (PASSED, FAILED, LEFT_OUT)]
    total = f"{counts[0]} passed, {counts[1]} failed, {counts[2]} left out, in {seconds:.0f} s"
    return "\n".join([head, "", *(it.line(width) for it in results), "", total, ""])
