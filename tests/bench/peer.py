"""PyTorch's side of `make bench`: measures what it is asked to, one request at a time.

Requests and answers are lines of JSON on stdin and stdout:

    {"do": "about"}                                              -> {"torch": ..., "python": ...}
    {"do": "prepare", "row": R, "side": S, "kind": K, "task": T} -> {}
    {"do": "measure", "row": R, "side": S, "steps": N}           -> {"seconds": s, "units": u}
    {"do": "free", "row": R}                                     -> {}

An answer may be {"error": TEXT} instead. Between requests the process waits for the next line.

    peer.py --memory SIDE TASK STEPS   trains so many steps and prints its largest size in KiB
"""

import gc
import json
import os
import platform
import resource
import sys
import time

import torch

from pytorch import files, images, selection, training

KINDS = {
    "training": training.prepare,
    "selection": selection.prepare,
    "files": files.prepare,
    "images": images.prepare,
}


def answer(request, prepared):
    action, row = request["do"], request.get("row")
    if action == "about":
        return {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
        }
    if action == "prepare":
        measure = KINDS[request["kind"]](request["side"], request["task"])
        prepared[row, request["side"]] = measure
        return {}
    if action == "measure":
        measure = prepared[row, request["side"]]
        steps = request["steps"]
        if getattr(measure, "times_itself", False):
            seconds, units = measure(steps)
        else:
            start = time.perf_counter()
            units = measure(steps)
            seconds = time.perf_counter() - start
        return {"seconds": seconds, "units": units}
    if action == "free":
        for key in [key for key in prepared if key[0] == row]:
            del prepared[key]
        torch.compiler.reset()
        if torch.cuda.is_available():
            # Graphs hold their memory until they are gone.
            gc.collect()
            torch.cuda.empty_cache()
        return {}
    raise ValueError(f"unknown request {action!r}")


def serve():
    # What libraries print must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepared = {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), prepared)
        except training.LeftOut as reason:
            reply = {"error": f"left out: {reason}"}
        except Exception as error:  # the row is left out, the others go on
            reply = {"error": f"{type(error).__name__}: {error}"[:600]}
        print(json.dumps(reply), file=answers, flush=True)


def main():
    torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
    if sys.argv[1:2] == ["--memory"]:
        side, task, steps = sys.argv[2:5]
        training.prepare(side, json.loads(task))(int(steps))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    else:
        serve()


if __name__ == "__main__":
    main()
