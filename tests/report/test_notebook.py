"""The example notebook runs from top to bottom, and its outputs are what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_notebook_runs(tmp_path: Path) -> None:
    """Every cell runs; the study trades, progress is a table, figures are figures, the report is small."""
    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells)  # kept clean: outputs are made, not stored
    client = NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    shown = [str(output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert any(text.startswith("(True, [") for text in shown)
    assert any("200 trials" in text for text in shown)
    pages = [str(output.get("data", {}).get("text/html", "")) for output in outputs]
    assert any("<caption>notebook" in page and "200 of 200" in page for page in pages)
    assert sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs) == 2
    assert shown[-1] == "True"
