"""Run every `bench_*.py` of this folder, or those named: `python -m benchmarks engine search --quick`.

Each module has `main(quick: bool) -> None`, which prints. `--quick` asks for fewer rounds and sizes.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path

from benchmarks.timing import clock_name, machine, use_processor_time


def main() -> int:
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which to run: {', '.join(found)}; all when none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--cpu", action="store_true", help="count processor time, for a machine that is not idle")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(found))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(found)}")
    if asked.cpu:
        use_processor_time()
    print(f"{machine()}\ntimes are {clock_name()}")
    failed = []
    for name in asked.names or found:
        print(f"\n== {name}", flush=True)
        try:
            importlib.import_module(f"benchmarks.bench_{name}").main(asked.quick)
        except Exception:  # noqa: BLE001 - one broken benchmark is reported, and the rest still run
            traceback.print_exc()
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
