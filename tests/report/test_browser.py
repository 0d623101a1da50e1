"""The report in a real browser: it renders without a console error, sorts, filters, responds, in light and dark."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genesis.report.html import render, write_report
from genesis.report.source import read_run
from genesis.run.result import Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no browser; type: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip

# run inside the page after it is ready; what it finds is left in the title, which --dump-dom prints
PROBE = """
<script>
(async () => {
  const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
  const wait = async (test) => { for (let i = 0; i < 400 && !test(); i++) await sleep(25); };
  const out = {};
  const $ = (id) => document.getElementById(id);
  await wait(() => document.documentElement.dataset.ready);
  const boxes = [...document.querySelectorAll("[data-figure]")];
  await wait(() => boxes.every((box) => box.querySelector(".main-svg")));
  out.ready = document.documentElement.dataset.ready;
  out.boxes = boxes.length;
  out.drawn = boxes.filter((box) => box.querySelector(".main-svg")).length;
  out.width = document.documentElement.scrollWidth - innerWidth;
  out.wide = boxes.filter((box) => box.getBoundingClientRect().width > innerWidth).length;
  const cells = (i) => [...$("all").tBodies[0].rows].map((row) => row.cells[i].textContent);
  out.first = cells(0);
  const frame = $("all").closest(".scroll"), heads = [...$("all").tHead.rows[0].cells];
  const place = (i) => heads[i].getBoundingClientRect(), edge = () => frame.getBoundingClientRect();
  out.seen = heads.filter((head, i) => place(i).right <= edge().right).map((head) => head.textContent);
  const before = [0, 1].map((i) => place(i).left - edge().left);
  frame.scrollLeft = 1e6;
  out.moved = [0, 1].map((i) => Math.abs(place(i).left - edge().left - before[i]));
  out.scrolled = frame.scrollLeft;
  frame.scrollLeft = 0;
  $("all").tHead.rows[0].cells[0].querySelector("button").click();
  out.byNumber = cells(0);
  out.sorted = $("all").tHead.rows[0].cells[0].getAttribute("aria-sort");
  $("filter").value = "trades>=20 side=long";
  $("filter").dispatchEvent(new Event("input"));
  out.filtered = $("page").textContent;
  $("clear").click();
  $("next").click();
  out.page = $("page").textContent;
  const colour = () => [getComputedStyle(document.body).backgroundColor, boxes[0]._fullLayout.font.color];
  out.before = colour();
  $("theme").click();
  await sleep(300);
  out.after = colour();
  const pick = $("pick");
  if (pick) {
    pick.selectedIndex = 1;
    pick.dispatchEvent(new Event("change"));
    await sleep(200);
    out.picked = $("price-words").textContent;
    out.label = $("price-plot").getAttribute("aria-label");
  }
  out.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  document.title = "PROBE" + JSON.stringify(out);
})().catch((error) => { document.title = "PROBE" + JSON.stringify({ error: String(error) }); });
</script></body>
"""


def probed(page: str) -> str:
    """The page with the probe, which its policy must be told of."""
    source = PROBE.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1).replace("</body>", PROBE, 1)


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Open a page and give what the probe saw and the console's lines."""

    def run_browser(page: str, *, width: int, theme: str = "light") -> tuple[dict[str, Any], list[str]]:
        path = tmp_path / f"page-{width}-{theme}.html"
        path.write_text(probed(page), encoding="utf-8")
        assert CHROMIUM is not None
        target = f"{path.as_uri()}#theme={theme}&all=1"
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900",
             "--virtual-time-budget=20000", "--dump-dom", target],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found = re.search(r"<title>PROBE(.*?)</title>", done.stdout, re.DOTALL)
        assert found, done.stderr[-2_000:]
        seen: dict[str, Any] = json.loads(html.unescape(found.group(1)))
        return seen, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return run_browser


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (500, "dark")])
def test_the_report_works(run: Run, browse: Callable[..., Any], width: int, theme: str) -> None:
    """No console line, every figure drawn inside the width, the table sorts, filters and pages, themes switch.

    On a usual screen the searched parameters are in sight, and trial and score stay when the table is scrolled.
    """
    seen, console = browse(render(read_run(run.path)), width=width, theme=theme)
    assert "error" not in seen
    assert console == []
    assert seen["drawn"] == seen["boxes"] > 10
    assert seen["width"] <= 0
    assert seen["wide"] == 0
    assert seen["first"][0] == str(run.best.number)
    if width > 640:
        assert seen["seen"][:6] == ["trial", "score", "state", "fast", "side", "slow"]
    assert seen["moved"][: 2 if width > 640 else 1] == pytest.approx([0.0] * (2 if width > 640 else 1), abs=1.0)
    assert seen["scrolled"] > 0
    assert seen["byNumber"] == [str(number) for number in range(25)]
    assert seen["sorted"] == "ascending"
    stored = run.trials()
    wanted = int(((stored["metrics_trades"] >= 20) & (stored["params_side"] == "long")).sum())
    assert seen["filtered"].startswith(f"{wanted} of {run.count} trials")
    assert "page 2 of" in seen["page"]
    assert seen["before"][0] != seen["after"][0]
    assert seen["before"][1] != seen["after"][1]
    assert seen["picked"] == seen["label"]
    assert seen["picked"].startswith("Trial ")
    assert [name for name in seen["loaded"] if not name.startswith(("file:", "blob:", "data:"))] == []


def test_a_hostile_page_stays_text(run: Run, browse: Callable[..., Any], tmp_path: Path) -> None:
    """A script that finds its way into the page is not run: the policy has only our hashes."""
    page = render(read_run(run.path)).replace(
        "</main>", "<script>document.documentElement.dataset.owned = 1; console.log('owned')</script></main>"
    )
    seen, console = browse(page, width=1400)
    assert seen["drawn"] == seen["boxes"]
    assert not any("owned" in line and "Refused" not in line and "violates" not in line for line in console)
    assert any("Content Security Policy" in line for line in console)


def test_the_written_file_opens(run: Run, tmp_path: Path) -> None:
    """The file that `genesis report` writes renders to an image from disk."""
    path = write_report(run.path, output=tmp_path / "report.html")
    assert CHROMIUM is not None
    image = tmp_path / "shot.png"
    subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1800",
         "--virtual-time-budget=8000", f"--screenshot={image}", path.as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert image.stat().st_size > 30_000
