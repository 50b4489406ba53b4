"""Checks that every link of the documentation leads somewhere: to a file that is there, and to a heading of it.

    python3 host/setup/links.py

Links to other sites are not followed. Every page of docs/ must stand in docs/SUMMARY.md, the site's table of contents.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = Path("docs/SUMMARY.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Pages that the site takes from elsewhere in the repository.
TAKEN = {
    "docs/index.md": "README.md",
    "docs/project/architecture.md": "ARCHITECTURE.md",
    "docs/project/benchmarks.md": "BENCHMARKS.md",
    "docs/project/changelog.md": "CHANGELOG.md",
    "docs/project/contributing.md": "CONTRIBUTING.md",
    "docs/project/stability.md": "STABILITY.md",
}


def prose(text):
    """A page without its code."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.S | re.M)


def anchors(text):
    """What the headings of a page are called in links."""
    seen = {}
    for heading in re.findall(r"^#{1,6} (.*)$", prose(text), flags=re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        number = seen.get(name, 0)
        seen[name] = number + 1
        yield f"{name}-{number}" if number else name


def target_of(page, link):
    """The file that a link of a page names, from the root, and the heading."""
    path, _, heading = link.partition("#")
    if not path:
        return page, heading
    target = (ROOT / page.parent / path).resolve()
    target = target.relative_to(ROOT) if target.is_relative_to(ROOT) else target
    return Path(TAKEN.get(target.as_posix(), target)), heading


def problems():
    """What is wrong, in words."""
    found = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        capture_output=True, text=True, check=True,
    )
    pages = [Path(name) for name in found.stdout.split()]
    texts = {page: (ROOT / page).read_text() for page in pages if (ROOT / page).exists()}
    for page, text in texts.items():
        for link in LINK.findall(prose(text)):
            if re.match(r"[a-z]+:", link):
                continue
            target, heading = target_of(page, link)
            if not (ROOT / target).exists():
                yield f"{page}: {link}: there is no {target}"
            elif heading and target in texts and heading not in anchors(texts[target]):
                yield f"{page}: {link}: {target} has no such heading"
    listed = {target_of(SUMMARY, link)[0] for link in LINK.findall(texts[SUMMARY])}
    for page in texts:
        if page.parent == SUMMARY.parent and page not in listed | {SUMMARY}:
            yield f"{page}: {SUMMARY} does not list it"


if __name__ == "__main__":
    found = list(problems())
    print("\n".join(found) or "every link of the documentation leads somewhere")
    sys.exit(bool(found))
