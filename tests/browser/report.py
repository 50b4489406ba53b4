"""Opens a report in a browser: python3 report.py PROGRAM [FOLDER FOR PICTURES]"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import chromium
from watch import SWEEP

PROGRAM, PICTURES = Path(), None
CLAIM = """
[[claims]]
claim = "large & <b>small</b>"
above = "large"
below = "small"
"""
METHODS = """
[sweep]
title = "Learning rates"
[sweep.methods.small]
train.optimizer.lr = 0.01
[sweep.methods.large]
train.optimizer.lr = 0.2
[sweep.methods.steep]
prune.rate = 0.75
"""


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="rewind-report-"))
        file = cls.folder / "paper.toml"
        # Claims stand before the first table.
        head, tables = SWEEP.split("[data]", 1)
        file.write_text(head + "[data]" + tables.split("[sweep]")[0] + METHODS + CLAIM)
        environment = {**os.environ, "REWIND_CONFIG": str(cls.folder / "none.toml")}
        for command in (["run", file, "--threads", "1", "--quiet"], ["report", "paper", "--quiet"]):
            subprocess.run([PROGRAM, *command], cwd=cls.folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        cls.address = (cls.folder / "runs/paper/report.html").as_uri()
        cls.browser = chromium.Chromium(chromium.find()).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        shutil.rmtree(cls.folder)

    def picture(self, page, name):
        if PICTURES:
            time.sleep(0.2)
            page.picture(PICTURES / f"{name}.png")

    def test_numbers_are_chosen_shown_sorted_and_copied(self):
        page = self.browser.page(height=1600)
        page.open(self.address)
        page.wait("!!document.querySelector('.explorer .plot svg')")
        lines = "document.querySelectorAll('.explorer .plot .line .mean').length"
        page.expect(lines, 3)
        titles = page.tell("[...document.querySelector('.explorer select').options].map(it => it.textContent)")
        self.assertIn("Signs that differ from init", titles)
        box = page.tell("(({left, top, width, height}) => [left + width * 0.5, top + height / 2])"
                        "(document.querySelector('.explorer .plot svg').getBoundingClientRect())")
        page.move(*box)
        tip = "(it => [it.split('small').length, it.split('large').length, it.split(' to ').length])" \
            "(document.querySelector('.tip:not([hidden])')?.textContent ?? '')"
        page.wait(f"{tip}[2] > 2")
        self.assertEqual(page.tell(tip)[:2], [2, 2])
        self.picture(page, "report")
        self.assertEqual(page.tell("document.querySelectorAll('.copy').length"), 2)
        page.scheme("dark")
        self.picture(page, "report-dark")
        page.scheme("light")
        # One method off: its line and its column are gone.
        page.tell("document.querySelector('.methods button').click()")
        page.expect(lines, 2)
        heads = "[...document.querySelectorAll('.explorer th')].map(it => it.textContent)"
        page.expect(heads, ["level", "density", "large", "steep"])
        page.tell("document.querySelector('.methods button').click()")
        # Another density is another row, where the other methods have no number.
        rows = page.tell("""[...document.querySelectorAll('.explorer tbody tr')]
            .map(row => [...row.cells].map((it, at) => at < 2 ? it.textContent : it.textContent !== ''))""")
        self.assertIn(["0", "1", True, True, True], rows)
        self.assertIn(["1", "0.5", True, True, False], rows)
        self.assertIn(["1", "0.25", False, False, True], rows)
        self.assertEqual(len(rows), 7)
        page.tell("""(list => { list.value = 2; list.dispatchEvent(new Event('change')) })
            ([...document.querySelectorAll('.explorer select')].at(-1))""")
        page.wait("document.querySelector('.explorer .plot svg').ariaLabel.includes('by level')")
        first = "document.querySelector('.explorer tbody tr').textContent"
        page.wait(f"{first}.startsWith('01')")
        page.tell("document.querySelector('.explorer th button').click()")
        page.tell("document.querySelector('.explorer th button').click()")
        page.wait(f"{first}.startsWith('3')")
        copied = {}
        page.tell("""Object.defineProperty(navigator, 'clipboard', { value: { writeText: async text => { window.copied = text } } })""")
        for form in ("LaTeX", "Markdown", "CSV"):
            page.tell(f"""[...document.querySelectorAll('.copy')].at(0).querySelectorAll('button')
                .forEach(it => it.textContent === '{form}' && it.click())""")
            copied[form] = page.wait("window.copied")
            page.tell("window.copied = null")
        self.assertIn(r"large \& $<$b$>$small$<$/b$>$ & large $-$ small", copied["LaTeX"])
        self.assertIn(r"\begin{tabular}{l", copied["LaTeX"])
        self.assertIn("| large & <b>small</b> |", copied["Markdown"])
        self.assertEqual(len(copied["CSV"].splitlines()), 2)
        self.assertIn("p, Holm", copied["CSV"])
        self.assertEqual(page.complaints(), [])
        self.assertEqual({it for it in page.requests() if not it.startswith("file:")}, set())

    def test_figures_are_the_same_without_script_and_on_paper(self):
        figures = "[...document.querySelectorAll('figure > svg')].map(it => it.outerHTML)"
        page = self.browser.page()
        page.open(self.address)
        page.wait("!!document.querySelector('.explorer .plot svg')")
        scripted = page.tell(figures)
        self.assertGreater(len(scripted), 5)
        plain = self.browser.page()
        plain.call("Emulation.setScriptExecutionDisabled", value=True)
        plain.open(self.address)
        plain.wait("!!document.querySelector('footer')")
        self.assertEqual(plain.tell(figures), scripted)
        self.assertTrue(plain.tell("document.querySelector('.explorer').hidden"))
        page.call("Emulation.setEmulatedMedia", media="print")
        shown = "getComputedStyle(document.querySelector('{}')).display"
        self.assertEqual(page.tell(shown.format(".explorer")), "none")
        self.assertEqual(page.tell(shown.format(".copy")), "none")
        self.assertEqual(page.tell("getComputedStyle(document.querySelector('details.run'), '::details-content').contentVisibility"), "visible")
        self.assertEqual(page.tell("getComputedStyle(document.querySelector('h3')).breakAfter"), "avoid")


if __name__ == "__main__":
    PROGRAM = Path(sys.argv[1]).resolve()
    PICTURES = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
    unittest.main(argv=sys.argv[:1], verbosity=2)
