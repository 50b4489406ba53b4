"""The kernels' own tests, which compare kernels on a GPU with those for CPUs."""

import re
import shutil

from .verdicts import Differs, LeftOut

# They may have to be compiled first.
LIMIT = 600
SKIPPED = re.compile(r"on_gpu\S* skipped: (.*)")


def tested(program, root):
    ended = program.call(command(program, root), root, LIMIT)
    if ended.code != 0:
        raise Differs(f"the tests ended with {ended.code}: {ended.last_lines()}")
    skipped = SKIPPED.search(ended.err)
    if skipped:
        raise Differs(f"left out by themselves: {skipped[1]}")
    passed = sum(int(it) for it in re.findall(r"test result: ok\. (\d+) passed", ended.out))
    return f"{passed} tests"


def command(program, root):
    """By cargo; or, where there is none, what it built beside the program."""
    if shutil.which("cargo"):
        return ["cargo", "test", "--release", "-p", "kernels", "cuda::"]
    built = [it for it in (program.path.parent / "deps").glob("kernels-*") if not it.suffix]
    if not built:
        raise LeftOut("there is no cargo, and no test was built")
    return [max(built, key=lambda it: it.stat().st_mtime), "cuda::"]
