"""Check the package on a CUDA device, and measure there what the docs tell of a CPU, in at most ten minutes.

    bash scripts/gpu_check.sh --folder FOLDER

Each section is written to the output as soon as it is done, so that a run that is stopped keeps what it has. A section
whose check fails says so, and the exit status is 1; one for which no time is left, or whose packages are missing, says
why it is left out. Times are the best of several, with the device waited for. `FOLDER` holds the files of the published
experiments, see configs/published_image.yaml; without them these are left out.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

SAMPLES = ("sample:mandala", "sample:bells", "sample:metaballs", "sample:knot")
"""A target of each kind."""
SAME = 1e-2
"""Greatest difference of two devices' values after the few steps of the comparison, beside the values' own size."""


@dataclass
class Check:
    """What is checked, with how much work and for how long."""

    output: Path = Path("gpu-check.md")
    folder: Path | None = None
    device: str = "cuda"
    dry: bool = False
    seconds: float = 570.0
    began: float = field(default_factory=time.perf_counter)
    failures: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.perf_counter() - self.began)

    def scale(self, count: int, least: int = 2) -> int:
        """Return the number of steps or samples, a small one in a dry run."""
        return least if self.dry else count

    def wait(self) -> None:
        """Wait until the device has done its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def time(self, work: Callable[[], object], seconds: float = 2.0) -> float:
        """Return the least seconds that some work takes, of at least three tries after one to warm up."""
        best, end = float("inf"), time.perf_counter() + (0 if self.dry else seconds)
        for attempt in range(10_000):
            began = time.perf_counter()
            work()
            self.wait()
            if attempt:
                best = min(best, time.perf_counter() - began)
            if attempt >= (1 if self.dry else 3) and time.perf_counter() > end:
                break
        return best

    def write(self, *lines: str) -> None:
        """Print lines and add them to the output."""
        print(*lines, sep="\n", flush=True)
        with self.output.open("a") as file:
            file.write("\n".join(lines) + "\n")

    def expect(self, holds: bool, what: str) -> str:
        """Return "yes" if something holds that should; otherwise keep it as a failure and return "NO"."""
        if not holds:
            self.failures.append(what)
        return "yes" if holds else "NO"

    def section(self, title: str, work: Callable[[Check], None], least: float) -> None:
        """Do a section if it has its packages and at least so many seconds."""
        self.write("", f"## {title}")
        if self.left < least and not self.dry:
            self.write(f"Left out: {self.left:.0f} s are left, and it may take {least:.0f} s.")
            return
        began = time.perf_counter()
        try:
            work(self)
        except ModuleNotFoundError as error:
            self.write(f"Left out, because a package is missing: {error.name}")
        except Exception as error:
            self.failures.append(title)
            self.write(f"FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        self.write("", f"*{time.perf_counter() - began:.0f} s*")


def compare_devices(check: Check) -> None:
    """Fit each kind for a few steps on the CPU and twice on the device: the start, the end, and whether it repeats."""
    from winner_nerfstudio import fit
    from winner_nerfstudio.training.prepare import prepare

    check.write(
        "", "| target | steps | difference to the CPU's values | within 1 % | the same twice |", "|---|---|---|---|---|"
    )
    for name in (*SAMPLES, "sample:mandala, in parts"):
        options = {"parts": (8, 8)} if "parts" in name else {}
        signal, _ = prepare(name.split(",")[0], None, options)
        for steps in (1, check.scale(30)):
            settings = {"steps": steps, "measure": False, "progress": False, "batch_size": 2048, **options}
            fields = [fit(signal, device=device, **settings) for device in ("cpu", *[check.device] * 2)]
            coords = torch.rand(10_000, fields[0].dim, generator=torch.Generator().manual_seed(0)) * 2 - 1
            there = next(fields[1].parameters()).device
            with torch.no_grad():
                one, two, again = (
                    each.field(coords.to(at)).cpu() for each, at in zip(fields, ("cpu", there, there), strict=True)
                )
            difference = float((one - two).square().mean().sqrt() / one.square().mean().sqrt())
            same = check.expect(difference < SAME, f"{name} after {steps} steps is not that of the CPU")
            repeats = "yes" if torch.equal(two, again) else f"within {float((two - again).abs().max()):.1e}"
            check.write(f"| {name} | {steps} | {difference:.1e} | {same} | {repeats} |")


def compare_commands(check: Check) -> None:
    """Fit a picture by ns-train, stopped and resumed, and by `fit`: the fields should agree."""
    import nerfstudio  # noqa: F401

    from winner_nerfstudio import fit
    from winner_nerfstudio.fields.checkpoint import load_fitted

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [str(Path(sys.executable).parent / "ns-train"), "winner-image", "--data", "sample:mandala", "--vis"]
        command += ["tensorboard", "--output-dir", name, "--machine.device-type", check.device]
        command += ["--pipeline.model.hidden-dim", "64", "--pipeline.datamanager.batch-size", "2048"]
        command += ["--max-num-iterations", "20", "--steps-per-save", "5", "--save-only-latest-checkpoint", "False"]
        resume = ["--load-dir", f"{name}/whole/winner-image/run/nerfstudio_models", "--load-step", "5"]
        for run, more in (("whole", []), ("resumed", resume)):
            flags = ["--experiment-name", run, "--timestamp", "run", *more]
            done = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=name)
            if done.returncode not in (0, 3):  # 3 tells a poor fit, which is no wonder after so few steps
                raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
        configs = [folder / run / "winner-image/run/config.yml" for run in ("whole", "resumed")]
        settings = {"hidden_dim": 64, "batch_size": 2048, "steps": 20, "measure": False, "progress": False}
        fields = [*map(load_fitted, configs), fit("sample:mandala", device=check.device, **settings)]
        points = np.random.default_rng(0).uniform(0, 200, (5000, 2))
        values = [each(points) for each in fields]
    check.write("", "| compared with one run of ns-train | greatest difference | within 0.1 % |", "|---|---|---|")
    for what, other in zip(("a run that was stopped and resumed", "`fit`"), values[1:], strict=True):
        difference = float(np.abs(other - values[0]).max() / np.abs(values[0]).max())
        check.write(f"| {what} | {difference:.1e} | {check.expect(difference < 1e-3, what)} |")


def fit_by_default(check: Check) -> None:
    """Fit a target of each kind as a user does who sets nothing."""
    from winner_nerfstudio import fit

    check.write("", "| target | steps | metric | seconds | steps a second |", "|---|---|---|---|---|")
    for name in SAMPLES:
        if check.left < 90 and not check.dry:
            check.write(f"| {name} | | no time left | | |")
            continue
        settings = {"steps": 2} if check.dry else {}
        fitted = fit(name, device=check.device, progress=False, measure=not check.dry, **settings)
        figures = fitted.provenance.get("figures", {})
        metric = next((f"{key} {figures[key]:.4g}" for key in ("iou", "psnr") if key in figures), "")
        steps, seconds = fitted.provenance["steps"], fitted.provenance["seconds"]
        check.write(f"| {name} | {steps} | {metric} | {seconds:.1f} | {steps / seconds:.0f} |")


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Let matrix products have a precision: highest, or high, which is TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def measure_steps(check: Check) -> None:
    """Measure a training step: ours and a plain loop's, in float32, TF32 and bfloat16, compiled, and by CUDA graphs."""
    from benchmark_step import bank_work, single_work

    titles = ("plain", "plain, compiled", "plain, CUDA graph", "plain, bf16", "plain, TF32", "ours", "ours, TF32")
    check.write(
        "", "Share of the float32 matrix products' own peak, as in scripts/benchmark_step.py:", "",
        "| network | points | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles),
    )  # fmt: skip
    size = check.scale(1024, 64)
    rows = [(f"4 x {width}", f"{batch:,}", single_work, (width, batch, size)) for width, batch in
            ([(64, 512)] if check.dry else [(256, 4096), (256, 65_536), (256, 1 << 18), (512, 65_536)])]  # fmt: skip
    for members in (4,) if check.dry else (64, 256, 1024):
        rows.append((f"bank, {members} of 4 x 32", f"{members} x 512", bank_work, (members,)))
    for network, points, make, arguments in rows:
        if check.left < 60 and not check.dry:
            check.write(f"| {network} | {points} | no time left |")
            continue
        best = measure_variants(check, functools.partial(make, *arguments, device=check.device))
        shares = [f"{best['products'] / best[title]:.2f}" if title in best else "-" for title in titles]
        check.write(f"| {network} | {points} | " + " | ".join(shares) + " |")


def measure_variants(check: Check, make: Callable[..., dict[str, Callable[[], object]]]) -> dict[str, float]:
    """Return the seconds of the products and of each variant of a step that works here."""
    work = make()
    best = {name: check.time(work[name], 1.0) for name in ("products", "plain", "ours")}
    with products("high"):
        again = make()
        best |= {f"{name}, TF32": check.time(again[name], 1.0) for name in ("plain", "ours")}
    plain = make()["plain"]

    def in_bf16() -> None:
        with torch.autocast(check.device, torch.bfloat16):
            plain()

    best["plain, bf16"] = check.time(in_bf16, 1.0)
    for title, mode in (("plain, compiled", "default"), ("plain, CUDA graph", "reduce-overhead")):
        if check.device != "cuda" and mode != "default":
            continue
        # A dry run only looks whether it can be done; Inductor would take most of its time.
        options = {"backend": "aot_eager"} if check.dry and check.device == "cpu" else {"mode": mode}
        try:
            best[title] = check.time(make(change=functools.partial(torch.compile, **options))["plain"], 1.0)
        except Exception as error:
            check.write(f"<!-- {title}: {type(error).__name__}: {str(error).splitlines()[0]} -->")
    return best


def compare_precision(check: Check) -> None:
    """Fit a picture and a sound by default with exact products and with those of TF32."""
    from winner_nerfstudio import fit

    check.write("", "| target | products | psnr | psnr_between | seconds |", "|---|---|---|---|---|")
    for name in ("sample:mandala", "sample:bells"):
        for precision in ("highest", "high"):
            with products(precision):
                fitted = fit(name, steps=check.scale(1000), device=check.device, progress=False)
            figures, title = fitted.provenance["figures"], {"highest": "float32", "high": "TF32"}[precision]
            check.write(
                f"| {name} | {title} | {figures['psnr']:.2f} | {figures.get('psnr_between', float('nan')):.2f}"
                f" | {fitted.provenance['seconds']:.1f} |"
            )


def measure_start(check: Check) -> None:
    """Measure the initialisation of a bank of many members."""
    from winner_nerfstudio.training.initialize import start
    from winner_nerfstudio.training.plan import Course, make_plan
    from winner_nerfstudio.training.prepare import prepare

    side = check.scale(100, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (32 * side, 32 * side, 3), dtype=np.uint8)
    signal, options = prepare(pixels, "image", {"parts": (side, side)})
    plan = make_plan(signal, options, Course())
    seconds = check.time(lambda: start(signal, plan.options, torch.device(check.device), 0), 0.0)
    check.write(f"{side * side:,} members of 32 x 32 pixels each: {seconds:.1f} s.")


def measure_shape(check: Check) -> None:
    """Measure a frame of a fitted shape at 1080p, and the extraction of its mesh at 512 samples an axis."""
    from winner_nerfstudio import fit
    from winner_nerfstudio.surfaces.distance_grid import DistanceGrid
    from winner_nerfstudio.surfaces.sphere_tracing import box_interval, sphere_trace

    fitted = fit("sample:knot", steps=check.scale(1000, 20), device=check.device, progress=False, measure=False)
    network, device = fitted.field, next(fitted.parameters()).device

    def evaluate(points: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([network(block)[:, 0] for block in points.split(1 << 20)])

    width, height = (96, 54) if check.dry else (1920, 1080)
    across, down = torch.meshgrid(torch.linspace(-0.8, 0.8, width), torch.linspace(-0.45, 0.45, height), indexing="xy")
    directions = torch.stack([across.flatten(), down.flatten(), torch.ones(width * height)], -1)
    directions = torch.nn.functional.normalize(directions, dim=-1).to(device)
    origins = torch.tensor([0.0, 0.0, -2.5], device=device).expand_as(directions)
    near, far = box_interval(origins, directions)

    def draw() -> torch.Tensor:
        grid = DistanceGrid.of(evaluate, device)
        hits = sphere_trace(evaluate, network.value_and_gradient, grid, origins, directions, near, far, 1.6 / width)
        return hits.hit

    share, seconds = float(draw().float().mean()), check.time(draw)
    seen = check.expect(0.02 < share < 0.9, "the frame shows no shape")
    check.write(f"A frame of {width} x {height}: {seconds:.2f} s (the shape is seen: {seen}, {share:.0%} of the rays).")
    size = check.scale(512, 32)
    mesh = fitted.mesh(size)
    seconds = check.time(lambda: fitted.mesh(size), 0.0)
    check.write(f"Its mesh of {size} samples an axis: {seconds:.1f} s, {len(mesh.faces):,} faces.")


def publish(check: Check, configs: tuple[str, ...] = ("image", "audio")) -> None:
    """Run the published experiments of pictures and sounds at their full sizes until the time is over."""
    if check.folder is None:
        check.write("Left out: no --folder with the files.")
        return
    for config in configs:
        folder = str(check.folder.absolute())
        command = [sys.executable, "scripts/reproduce.py", f"configs/{config}.yaml", "--folder", folder]
        command += ["--device", check.device, "--seeds", "1", *["--small"] * check.dry]
        try:
            seconds = max(1.0, min(check.left - 30, check.left / 2 + 60))
            subprocess.run(command, timeout=seconds, capture_output=True, cwd=ROOT)
        except subprocess.TimeoutExpired:
            check.write(f"{config}: stopped, for the time is over; the same command goes on.")
        report = subprocess.run([*command, "--report-only"], capture_output=True, text=True, cwd=ROOT)
        check.expect(report.returncode == 0, f"the published experiments of {config}")
        check.write("", report.stdout.strip() or report.stderr.strip())


SECTIONS: list[tuple[str, Callable[[Check], None], float]] = [
    ("CPU and device", compare_devices, 10),
    ("Stop and resume, ns-train and fit", compare_commands, 60),
    ("By default", fit_by_default, 60),
    ("A training step", measure_steps, 60),
    ("TF32 and quality", compare_precision, 60),
    ("The start of many members", measure_start, 30),
    ("A frame and a mesh", measure_shape, 40),
    ("The published experiments", publish, 60),
]


def main() -> None:
    """Do all sections, and end with 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("gpu-check.md"), help="the file that is written")
    parser.add_argument("--folder", type=Path, help="folder of the published experiments' files")
    parser.add_argument("--dry-run", action="store_true", help="next to no work, on a CPU if there is no CUDA device")
    parser.add_argument("--seconds", type=float, default=570.0, help="how long it may take")
    titles = [title for title, _, _ in SECTIONS]
    parser.add_argument("--only", nargs="+", choices=titles, metavar="SECTION", help="sections to do, by their titles")
    arguments = parser.parse_args()
    has_device = torch.cuda.is_available()
    if not has_device and not arguments.dry_run:
        parser.error("there is no CUDA device; --dry-run does the same with next to no work on a CPU")
    check = Check(
        arguments.output, arguments.folder, "cuda" if has_device else "cpu", arguments.dry_run, arguments.seconds
    )
    name = torch.cuda.get_device_name() if has_device else "a CPU"
    arguments.output.write_text("")
    check.write(f"# {'Dry run on' if check.dry else 'Checked on'} {name}", "", f"PyTorch {torch.__version__}")
    for title, work, least in SECTIONS:
        if arguments.only is not None and title not in arguments.only:
            continue
        check.section(title, work, least)
    check.write("", f"Failed: {', '.join(check.failures)}" if check.failures else "No check failed.")
    sys.exit(bool(check.failures))


if __name__ == "__main__":
    main()
