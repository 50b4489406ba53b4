import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import rewind

from .made import WithProgram, needs

PACKAGE = Path(rewind.__file__).parents[1]


class Notebook(WithProgram):
    @needs("numpy")
    def test_the_lines_of_the_page_run_one_after_the_other(self) -> None:
        page = (PACKAGE.parents[1] / "docs/python.md").read_text(encoding="utf-8")
        block = page.split("## In a notebook")[1].split("```python\n")[1].split("```")[0]
        lines = block.splitlines()
        self.assertGreater(len(lines), 10)
        if importlib.util.find_spec("torch") is None:
            lines = [line for line in lines if "torch" not in line]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
