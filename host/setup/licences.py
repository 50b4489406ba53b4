"""The licences of the crates that are compiled into the program and its plugins."""

import json
import re
import subprocess
from pathlib import Path

TARGET = "x86_64-unknown-linux-gnu"
# Files whose names begin so say under which terms a crate is given.
TEXTS = ("licen", "copying", "notice", "copyright", "unlicense", "ofl", "ufl")

HEAD = """\
What is compiled into the program and its plugins beside Rewind's own sources: Rust's standard library (MIT OR
Apache-2.0, https://www.rust-lang.org) and the crates below, each with its licence as its author states it and the
texts that come with it. PyTorch is no part of this package. The data set MNIST-1D in the program is Sam Greydanus's
and Dmitry Kobak's (Apache-2.0).
"""


def third_parties(root):
    """The crates as (name, version, licence), and what is to be said of them."""
    packages = inside(root)
    crates = [(it["name"], it["version"], normalized(it)) for it in packages]
    lines = [HEAD]
    lines += [f"{name} {version}: {licence}" for name, version, licence in crates]
    texts = {}
    for package in packages:
        for file in texts_of(Path(package["manifest_path"]).parent):
            text = "\n".join(line.rstrip() for line in file.read_text("utf-8", "replace").strip().splitlines())
            texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
    for text, owners in texts.items():
        lines += ["", "=" * 100, ", ".join(dict.fromkeys(owners)), "=" * 100, text]
    return crates, "\n".join(lines) + "\n"


def inside(root):
    """The packages whose code is linked: those that the program and the plugins depend on when they run."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)
    packages = {it["id"]: it for it in metadata["packages"]}
    nodes = {it["id"]: it for it in metadata["resolve"]["nodes"]}
    left = [key for key in metadata["workspace_default_members"]]
    found = set()
    while left:
        key = left.pop()
        macro = any("proc-macro" in target["kind"] for target in packages[key]["targets"])
        if key in found or macro:
            continue
        found.add(key)
        for other in nodes[key]["deps"]:
            if any(kind["kind"] is None for kind in other["dep_kinds"]):
                left.append(other["pkg"])
    foreign = [packages[key] for key in found if packages[key]["source"] is not None]
    return sorted(foreign, key=lambda it: (it["name"], it["version"]))


def normalized(package):
    """The licence as an SPDX expression; older crates write `/` for OR."""
    if not package["license"]:
        return f"see {package['license_file']}"
    return re.sub(r"\s*/\s*", " OR ", package["license"])


def expression(crates):
    """One SPDX expression for all of it."""
    terms = {"MIT OR Apache-2.0"}
    for name, version, licence in crates:
        if licence.startswith("see "):
            raise SystemExit(f"make: {name} {version} states no licence, {licence}: say in licences.py what it is")
        terms.add(" OR ".join(sorted(licence.split(" OR "), reverse=True)) if "AND" not in licence else licence)
    plain = sorted(term if re.fullmatch(r"\S+", term) else f"({term})" for term in terms)
    return " AND ".join(plain)


def texts_of(folder):
    """Files with the terms of a crate, also of what it brings along in a folder."""
    files = [it for pattern in ("*", "*/*", "*/*/*") for it in folder.glob(pattern) if it.is_file()]
    return sorted(it for it in files if it.name.lower().startswith(TEXTS) and it.suffix in ("", ".md", ".txt", ".rst"))
