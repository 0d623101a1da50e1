"""Turn what a terminal showed (text with ANSI colours) into a PNG, for the README.

Run: genesis demo inside tmux, tmux capture-pane -e -p > shown.txt, then
     python scripts/draw_terminal.py shown.txt docs/img/demo.png   (needs Debian's chromium)
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 124
CHROMIUM = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def draw(shown: Path, picture: Path) -> None:
    """Write `picture` from the ANSI text in `shown`; trailing blank lines are dropped."""
    text = shown.read_text(encoding="utf-8").rstrip() + "\n"
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), no_wrap=True, crop=True)
    svg = console.export_svg(title="make demo")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f"<body style='margin:0'>{svg}</body>", encoding="utf-8")
        box = svg.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()
        width, height = (round(float(side)) for side in box)
        size = f"--window-size={width},{height}"
        chromium = shutil.which("chromium") or sys.exit("this needs chromium: apt-get install chromium")
        command = [
            chromium,
            *CHROMIUM,
            f"--user-data-dir={folder}/profile",
            size,
            f"--screenshot={picture}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
