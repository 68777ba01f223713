"""One measurement in a process of its own: `python -m benchmarks.drive ENGINE WORKLOAD …`.

Runs in the contender's own virtual environment; rounds.py starts it and reads --out.
"""

import argparse
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks.workloads import WORKLOADS, Engine, Place, Sizes


def _stop_on_sigterm(number: int, frame: FrameType | None) -> None:
    """Turn SIGTERM into an ordinary exit, so that `finally` stops the workers."""
    sys.exit(128 + number)


def main() -> None:
    """Start the engine, measure one workload, stop the engine, write the samples."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", help="a module with create(place) -> Engine")
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--place", type=json.loads, required=True)
    parser.add_argument("--sizes", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop_on_sigterm)

    create = importlib.import_module(options.engine).create
    engine: Engine = create(Place(**options.place))
    load = os.getloadavg()[0]
    try:
        engine.start()
        series = WORKLOADS[options.workload].measure(engine, Sizes(**options.sizes))
    finally:
        engine.stop()
    result = {"version": engine.version, "load": round(load, 2), "series": series}
    options.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
    # A client library's background threads must not keep a finished measurement alive.
    sys.stdout.flush()
    os._exit(0)
