"""Writes the pages of the site into a folder, as mdBook takes them: docs/, and what else belongs to it.

    python3 host/setup/site.py target/site

Links to files that are no pages lead to the repository.
"""

import re
import shutil
import sys
import tomllib
from os.path import relpath
from pathlib import Path

from links import LINK, ROOT, TAKEN, target_of

DOCS = Path("docs")


def main(folder):
    repository = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["repository"]
    pages = {page.relative_to(ROOT): page.relative_to(ROOT) for page in (ROOT / DOCS).glob("*.md")}
    pages.update({Path(taken): Path(page) for page, taken in TAKEN.items()})
    source = folder / "src"
    shutil.rmtree(source, ignore_errors=True)
    for page, place in pages.items():

        def leads_to(link, page=page, place=place):
            if re.match(r"[a-z]+:", link[1]):
                return link[0]
            target, heading = target_of(page, link[1])
            anchor = f"#{heading}" if heading else ""
            if target in pages:
                return f"]({relpath(pages[target], place.parent)}{anchor})"
            if target.parent == DOCS and target.suffix != ".toml":
                return f"]({relpath(target, place.parent)})"
            kind = "tree" if (ROOT / target).is_dir() else "blob"
            return f"]({repository}/{kind}/main/{target}{anchor})"

        to = source / place.relative_to(DOCS)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(LINK.sub(leads_to, (ROOT / page).read_text()))
    for picture in [*(ROOT / DOCS).glob("*.svg"), *(ROOT / DOCS).glob("*.png")]:
        shutil.copy(picture, source)
    shutil.copy(ROOT / DOCS / "book.toml", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
