"""optuna-dashboard opens a mirrored run: its page, what its page asks for, and, in a browser, what is seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

import genesis
from genesis.run.mirror import export_optuna

pytest.importorskip("optuna_dashboard", reason="type: pip install 'genesis-core[dashboard]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STARTING_SECONDS = 90
LIFE_SECONDS = 300  # the server ends itself then, whatever became of the test
SERVER = """
import sys, threading, os
from wsgiref.simple_server import WSGIRequestHandler, make_server
from optuna_dashboard import wsgi
class Quiet(WSGIRequestHandler):
    def log_message(self, *words): pass
server = make_server("127.0.0.1", 0, wsgi(sys.argv[1]), handler_class=Quiet)
end = threading.Timer(float(sys.argv[2]), os._exit, [0])
end.daemon = True
end.start()
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(server.server_port, flush=True)
server.serve_forever()
"""
STUDY = {
    "evaluate": lambda params: {"loss": params["x"] ** 2 + params["n"], "size": 3.0},
    "objective": {"metric": "loss", "direction": "minimize"},
    "parameters": {
        "x": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.5},
        "n": {"type": "int", "low": 1, "high": 9},
        "kind": {"type": "grid", "values": ["ema", "sma"]},
    },
    "run": {"run_id": "shown", "max_trials": 40, "max_concurrent": 8, "seed": 3, "sampler": "random"},
}


@contextmanager
def served(url):
    """The dashboard of a storage on a free port of this machine; it ends with this process, or by itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, url, str(LIFE_SECONDS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = process.stdout.readline().strip()
        assert port, "the dashboard did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def fetched(address):
    with urllib.request.urlopen(address, timeout=STARTING_SECONDS) as answer:  # noqa: S310 - our own server
        assert answer.status == 200
        return answer.read().decode()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return genesis.optimize(STUDY, workers=0, runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def dashboard(run, tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('optuna')}/optuna.db"
    export_optuna(run, url)
    with served(url) as address:
        yield address


def test_the_page_and_the_study_are_there(run, dashboard):
    """The page is served, the study is listed, and its detail has every trial with our values and parameters."""
    assert "<html" in fetched(f"{dashboard}/").lower()
    listed = json.loads(fetched(f"{dashboard}/api/studies"))["study_summaries"]
    assert [one["study_name"] for one in listed] == ["shown"]
    detail = json.loads(fetched(f"{dashboard}/api/studies/{listed[0]['study_id']}"))
    assert len(detail["trials"]) == 40
    assert {one["name"] for one in detail["union_search_space"]} == {"x", "n", "kind"}
    for trial in detail["trials"]:
        said = {one["key"]: one["value"] for one in trial["user_attrs"]}
        result = run.trial(int(said["genesis:number"]))
        assert trial["state"] == "Complete"
        assert [float(one) for one in trial["values"]] == [result.score]
        assert {one["name"]: one["param_external_value"] for one in trial["params"]} == {
            name: str(value) for name, value in result.params.items()
        }
        assert float(said["metrics.loss"]) == result.metrics["loss"]


def test_parameter_importances_are_computed(dashboard):
    """What the dashboard computes itself works on a mirrored study too."""
    study = json.loads(fetched(f"{dashboard}/api/studies"))["study_summaries"][0]["study_id"]
    found = json.loads(fetched(f"{dashboard}/api/studies/{study}/param_importances"))["param_importances"]
    assert {one["name"] for one in found[0]} == {"x", "n", "kind"}


@pytest.mark.skipif(CHROMIUM is None, reason="no browser; type: apt-get install chromium")
@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize(("page", "words"), [("", ["shown", "MAXIMIZE"]), ("studies/1", ["shown", "Best Trial"])])
def test_a_browser_shows_the_study(dashboard, tmp_path, page, words):
    """The pages' own scripts run and draw the list of studies, and the mirrored one with its best trial."""
    shown = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
            *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"),
            f"{dashboard}/dashboard/{page}",
        ],
        capture_output=True,
        text=True,
        timeout=LIFE_SECONDS,
        check=True,
    ).stdout
    assert [word for word in words if word not in shown] == []
