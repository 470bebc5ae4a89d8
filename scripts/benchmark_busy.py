"""Time the steps of a fit on a quiet machine and beside a program that keeps one core busy, by how threads wait.

    python scripts/benchmark_busy.py [--steps 20]

Threads of GNU's OpenMP, which PyTorch's Linux builds have, look busily for work for a while before they sleep. While
they do so on every core, the one that all wait for gets none where another program runs.
"""

import argparse
import os
import subprocess
import sys
import time

FIT = """
import sys
from winner_nerfstudio import fit
options = {"progress": False, "measure": False}
fit("sample:mandala", steps=1, **options)
print(fit("sample:mandala", steps=int(sys.argv[1]), **options).provenance["seconds"])
"""
WAYS = {
    "default": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}


def measure(steps: int, variables: dict[str, str], limit: float) -> str:
    """Return the seconds of a fit in a process of its own, or that it took longer than a limit."""
    varied = set().union(*WAYS.values())
    kept = {name: value for name, value in os.environ.items() if name not in varied}
    command = [sys.executable, "-W", "ignore", "-c", FIT, str(steps)]
    try:
        done = subprocess.run(
            command, env=kept | variables, stdout=subprocess.PIPE, text=True, timeout=limit, check=True
        )
    except subprocess.TimeoutExpired:
        return f"over {limit:.0f}"
    return f"{float(done.stdout):.1f}"


def main() -> None:
    """Print a table of seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="training steps of each fit (default: 20)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a fit is ended (default: 60)")
    arguments = parser.parse_args()
    print(f"{'seconds of ' + str(arguments.steps) + ' steps':26} {'quiet':>10} {'busy':>10}")
    for name, variables in WAYS.items():
        quiet = measure(arguments.steps, variables, arguments.limit)
        with subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True) as other:
            try:
                time.sleep(1)
                busy = measure(arguments.steps, variables, arguments.limit)
            finally:
                other.kill()
        print(f"{name:26} {quiet:>10} {busy:>10}", flush=True)


if __name__ == "__main__":
    main()
