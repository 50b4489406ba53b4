"""Draws the imports between the top-level modules of a crate, lowest first, and fails if some of them
form a ring, or if the table of modules in ARCHITECTURE.md says otherwise.

    python3 host/setup/imports.py [host/src [ARCHITECTURE.md]]

It reads `use crate::...` and paths that start with `crate::`, outside comments and tests.
"""

import re
import sys
from pathlib import Path


def top_level(file, root):
    """The top-level module that a file belongs to."""
    return file.relative_to(root).parts[0].removesuffix(".rs")


def is_test(file):
    """Whether a file holds tests alone."""
    return any(part.removesuffix(".rs") in ("tests", "testing") for part in file.parts)


def without_comments_and_tests(text):
    """A file's code, without the module of tests at its foot."""
    text = re.sub(r"//[^\n]*", "", text)
    return re.split(r"#\[cfg\(test\)\]\s*mod \w+ \{", text)[0]


def first_names(text):
    """The names that follow `crate::`, alone or in braces."""
    for found in re.finditer(r"\bcrate::(\{|\w+)", text):
        if found.group(1) != "{":
            yield found.group(1)
            continue
        depth, name = 1, ""
        for letter in text[found.end() :]:
            depth += {"{": 1, "}": -1}.get(letter, 0)
            if depth == 0 or (depth == 1 and letter == ","):
                yield re.match(r"\s*(\w*)", name).group(1)
                name = ""
            else:
                name += letter
            if depth == 0:
                break


def imports(root):
    """The modules that each top-level module imports, with a file that does."""
    files = [file for file in sorted(root.rglob("*.rs")) if not is_test(file.relative_to(root))]
    modules = {top_level(file, root) for file in files} - {"lib", "main"}
    edges = {module: {} for module in modules}
    for file in files:
        own = top_level(file, root)
        for name in first_names(without_comments_and_tests(file.read_text())):
            if own in modules and name in modules and name != own:
                edges[own].setdefault(name, file.relative_to(root))
    return edges


def layers(edges):
    """The modules in layers, each of which imports only those below it; and what is left: rings."""
    left, drawn = dict(edges), []
    while layer := [module for module in left if not set(left[module]) & set(left)]:
        drawn.append(sorted(layer))
        for module in layer:
            del left[module]
    return drawn, left


def untrue_rows(edges, text):
    """What the table of modules says that the sources do not: leaves, which import nothing, go unsaid in it."""
    table = text.split("| module of `host/src` |")[1].split("\n\n")[0]
    names = lambda cell: set(re.findall(r"`(\w+)/?`", cell))
    told = set()
    for row in table.splitlines()[2:]:
        _, modules, _, knows, _ = row.split("|")
        modules = names(modules)
        told |= modules
        for module in sorted(modules - set(edges)):
            yield f"`{module}` is no module"
        imported = {other for module in modules & set(edges) for other in edges[module]}
        expected = {other for other in imported - modules if edges[other]}
        if "everything" not in knows and names(knows) != expected:
            yield f"{', '.join(sorted(modules))}: knows of {', '.join(sorted(expected)) or 'nothing'}"
    for module in sorted(set(edges) - told):
        yield f"`{module}` is missing"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "host/src")
    architecture = Path(sys.argv[2] if len(sys.argv) > 2 else "ARCHITECTURE.md")
    edges = imports(root)
    if not edges:
        sys.exit(f"imports.py: there is no module in {root}")
    drawn, left = layers(edges)
    for number, layer in enumerate(drawn):
        for module in layer:
            print(f"{number:2}  {module:14} {' '.join(sorted(edges[module]))}".rstrip())
    if left:
        print("\nThese modules form a ring, or stand above one:", file=sys.stderr)
        for module in sorted(left):
            for other in sorted(set(left[module]) & set(left)):
                print(f"  {module} imports {other} in {left[module][other]}", file=sys.stderr)
        sys.exit(1)
    if untrue := list(untrue_rows(edges, architecture.read_text())):
        print(f"\nThe table in {architecture} is not true to {root}:", file=sys.stderr)
        for line in untrue:
            print(f"  {line}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
