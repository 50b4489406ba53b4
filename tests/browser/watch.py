"""Opens the page of `watch` in a browser: python3 watch.py PROGRAM [FOLDER FOR PICTURES]

A sweep goes on meanwhile. Prints a line for each thing that was looked at.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from urllib.parse import urlsplit

import chromium

PROGRAM, PICTURES = Path(), None
MARKUP = '<img src="x" onerror="document.title=1">'
NAMES = "[...document.querySelectorAll('.row:not([hidden]) .name span')].map(it => it.textContent)"
SWEEP = """
name = "paper"
seeds = [0, 1]
[data]
name = "mnist1d"
[model]
name = "mlp"
hidden = [16]
[train]
epochs = 2
batch_size = 100
optimizer = { name = "sgd", lr = 0.1, momentum = 0.9 }
evaluate_every = "1ep"
[prune]
levels = 3
rate = 0.5
[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = "lrr/learning-rate"
[sweep]
title = "<b>Learning rates</b>"
grid = { "train.optimizer.lr" = [0.05, 0.1, 0.2] }
"""


class Watch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="rewind-watch-"))
        cls.runs = cls.folder / "runs"
        cls.environment = {**os.environ, "REWIND_CONFIG": str(cls.folder / "none.toml")}
        (cls.folder / "paper.toml").write_text(SWEEP)
        cls.write_strange()
        cls.server = subprocess.Popen(
            [PROGRAM, "watch", cls.runs, "--port", "0", "--json", "--quiet"],
            stdout=subprocess.PIPE, text=True, env=cls.environment,
        )
        cls.said = json.loads(cls.server.stdout.readline())
        cls.browser = chromium.Chromium(chromium.find()).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.browser.__exit__()
        cls.server.send_signal(signal.SIGINT)
        code = cls.server.wait(20)
        cls.server.stdout.close()
        shutil.rmtree(cls.folder)
        assert code == 0, code

    @classmethod
    def write_strange(cls):
        """A sweep whose names are markup, and whose only run was not begun."""
        cell = {"name": MARKUP, "method": MARKUP, "values": {MARKUP: MARKUP}, "seeds": [0], "run": "../strange-01234567"}
        part = {"name": "strange", "title": MARKUP, "cells": [cell], "claims": [], "neuron": None}
        folder = cls.runs / "strange"
        (folder / "logs").mkdir(parents=True)
        record = {"name": "strange", "file": "strange.toml", "parts": [part]}
        (folder / "sweep.json").write_text(json.dumps(record))
        failure = {"times": 3, "ran": "", "levels_done": 0, "reason": MARKUP}
        log = MARKUP.replace("/", "-").replace(" ", "-")
        (folder / "failures").mkdir()
        (folder / "failures" / f"{log}.json").write_text(json.dumps(failure))
        (folder / "logs" / f"{log}.log").write_text(f"{MARKUP}\n")

    def page(self, **size):
        page = self.browser.page(**size)
        page.open(self.said["url"])
        page.wait("document.getElementById('stream')?.dataset.state === 'live'")
        return page

    def picture(self, page, name):
        if PICTURES:
            time.sleep(0.3)
            page.picture(PICTURES / f"{name}.png")

    def test_a_sweep_goes_on_while_it_is_looked_at(self):
        page = self.page()
        page.wait("document.querySelectorAll('.row:not([hidden])').length === 1")
        page.tell("window.opened = 'before'")
        sweep = subprocess.Popen(
            [PROGRAM, "run", self.folder / "paper.toml", "--runs", self.runs, "--quiet", "--threads", "1", "--jobs", "1"],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )
        state = "[...document.querySelectorAll('.row:not([hidden])')].map(it => it.dataset.state)"
        seen = set()
        while sweep.poll() is None:
            seen.update(page.tell(state))
            time.sleep(0.1)
        self.assertEqual(sweep.returncode, 0)
        page.wait(f"{state}.filter(it => it === 'done').length === 3")
        # The page that was opened before the sweep began, not one that was loaded again.
        self.assertIn("failed", seen)
        self.assertEqual(page.tell("window.opened"), "before")
        page.wait("document.getElementById('sweeps').textContent.includes('3/3')")
        self.the_table_is_filtered_sorted_and_walked(page)
        self.runs_are_laid_over_each_other(page)
        self.markup_stays_text_and_nothing_is_asked_elsewhere(page)

    def the_table_is_filtered_sorted_and_walked(self, page):
        page.press("/")
        page.type("0.2")
        page.expect("document.querySelectorAll('.row:not([hidden])').length", 1)
        page.expect("document.getElementById('count').textContent", "1 run")
        page.press("Escape")
        page.type("accuracy>0 density<0.13 -0.2 method:")
        page.expect("document.getElementById('count').textContent", "2 runs")
        page.press("Escape")
        page.expect("document.getElementById('count').textContent", "4 runs")
        page.expect("document.querySelectorAll('.row:not([hidden])').length", 4)
        page.press("Escape")
        sort = "document.querySelector('[data-field=accuracy] button').click()"
        # Best first, and what has no accuracy last, either way round.
        shown = "[...document.querySelectorAll('.row:not([hidden])')].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)" \
            ".map(it => parseFloat(it.querySelector('.accuracy').textContent))"
        up = sorted(it for it in page.tell(shown) if it is not None)
        self.assertEqual(len(up), 3)
        page.tell(sort)
        page.expect("document.querySelector('[data-field=accuracy]').ariaSort", "descending")
        page.expect(shown, [*reversed(up), None])
        page.tell(sort)
        page.expect(shown, [*up, None])
        # Numbers in names count as such.
        page.tell(sort.replace("accuracy", "name"))
        page.wait("document.querySelector('[data-field=name]').ariaSort")
        names = shown.replace(".accuracy", ".name").replace("parseFloat(", "(")
        rates = [it for it in page.tell(names) if "lr" in it]
        self.assertEqual([float(it.split("lr-")[1].split()[0]) for it in rates], [0.05, 0.1, 0.2], rates)
        page.tell(sort)
        page.tell(sort)
        page.expect(shown, [*up, None])
        page.tell("document.getElementById('grid').focus()")
        page.press("Home")
        page.wait("document.querySelector('.row.focus').ariaRowIndex === '2'")
        page.press("ArrowDown")
        page.wait("document.querySelector('.row.focus').ariaRowIndex === '3'")

    def runs_are_laid_over_each_other(self, page):
        page.press("Home")
        for _ in range(3):
            page.press(" ")
            page.press("ArrowDown")
        page.wait("document.querySelectorAll('#chosen .name').length === 3")
        page.expect("document.querySelectorAll('.plot svg').length", 4)
        page.expect("document.querySelector('.plot svg').querySelectorAll('.mean').length", 3)
        page.expect("document.querySelector('.plot svg').querySelectorAll('.seed').length", 6)
        box = page.tell("(({left, top, width, height}) => [left + width * 0.6, top + height / 2])"
                        "(document.querySelector('.plot svg').getBoundingClientRect())")
        page.move(*box)
        page.expect("document.querySelector('.tip:not([hidden])')?.textContent.split('%').length", 4)
        self.picture(page, "light")
        page.tell("[...document.querySelectorAll('.axes button')].find(it => it.textContent === 'epochs').click()")
        page.wait("document.querySelector('.plot svg')?.ariaLabel.includes('by epochs')")
        # Two epochs of four levels.
        page.expect("document.querySelector('.plot .line').querySelectorAll('circle').length", 8)
        self.picture(page, "epochs")
        page.press("3")
        page.wait("document.querySelectorAll('.settings .differs').length > 0")
        page.expect("[...document.querySelectorAll('.settings tbody th')].map(it => it.textContent)", ["train.optimizer.lr"])
        self.picture(page, "settings")
        page.press("2")
        page.wait("document.querySelectorAll('#shown table').length === 3")
        self.picture(page, "levels")
        page.scheme("dark")
        page.press("1")
        page.wait("document.querySelectorAll('.plot svg').length === 4")
        self.picture(page, "dark")
        paper = "getComputedStyle(document.querySelector('header')).backgroundColor"
        page.expect(paper, "rgb(22, 27, 34)")
        page.press("t")
        page.expect(paper, "rgb(255, 255, 255)")

    def markup_stays_text_and_nothing_is_asked_elsewhere(self, page):
        page.press("Escape")
        page.tell("document.querySelector('#states [data-state=failed]').click()")
        page.expect(NAMES, [MARKUP])
        page.tell("document.querySelector('.row:not([hidden]) .name').click()")
        page.press("4")
        log = page.wait("document.querySelector('pre.log')?.textContent")
        self.assertIn(MARKUP, log)
        self.picture(page, "log")
        self.assertEqual(page.tell("document.querySelectorAll('img, script:not([src=\"main.js\"])').length"), 0)
        self.assertIn("Rewind", page.tell("document.title"))
        own = urlsplit(self.said["url"]).netloc
        asked = page.requests()
        self.assertGreater(len(asked), 10)
        self.assertEqual([it for it in asked if urlsplit(it).netloc != own], [])
        self.assertEqual(page.complaints(), [])
        # The token stands in no address that the browser keeps, and a script from elsewhere finds no way in.
        self.assertNotIn("#", page.tell("location.href"))
        for wrong in (
            "document.body.innerHTML = '<b>'", "eval('1')", "new Function('1')",
            "document.head.appendChild(document.createElement('script')).src = 'data:,1'",
        ):
            self.assertTrue(page.tell(f"(() => {{ try {{ {wrong}; return false }} catch (error) {{ return true }} }})()"), wrong)

    def test_a_wrong_token_is_told_and_shows_nothing(self):
        page = self.browser.page()
        page.open(self.said["url"].split("#")[0] + "#0badcafe")
        said = page.wait("document.getElementById('trouble')?.textContent")
        self.assertIn("the token is wrong: open the address that the program printed", said)
        self.assertEqual(page.tell("document.querySelectorAll('.row:not([hidden])').length"), 0)


if __name__ == "__main__":
    PROGRAM = Path(sys.argv[1]).resolve()
    PICTURES = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
    unittest.main(argv=sys.argv[:1], verbosity=2)
