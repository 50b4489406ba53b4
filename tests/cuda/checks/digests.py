"""The files of runs, compared byte by byte."""

import hashlib

from .verdicts import Differs


def digests(folder, below=None):
    """SHA-256 of every file, by relative path; of those below folders of this name alone, if there is one. Locks are
    left out, which are of processes and not of runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and "lock" not in relative.parts and (below is None or below in relative.parts):
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def compare(got, expected, below=None):
    """The number of files that are the same; fails with those that are not."""
    got, expected = digests(got, below), digests(expected, below)
    if len(expected) < 9:
        raise Differs(f"only {len(expected)} files to compare")
    differing = [it for it in sorted({*got, *expected}) if got.get(it) != expected.get(it)]
    if differing:
        shown = ", ".join(differing[:3]) + (", ..." if len(differing) > 3 else "")
        raise Differs(f"{len(differing)} of {len(expected)} files differ: {shown}")
    return len(expected)
