"""Make the README's pictures of an image and a sound: target, SIREN's fit and WINNER's in equally many steps.

Trains on built-in samples, which anyone has; takes some minutes on two cores.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import tyro
from compare_photos import call
from matplotlib.figure import Figure
from PIL import Image

SIREN, FREQUENCY = ["--pipeline.model.init", "siren"], "--pipeline.model.first-omega-0"
VARIANTS = {
    "image": {"SIREN": SIREN, "WINNER": []},
    # For sound SIREN's authors raise the first layer's frequency to 3000.
    "audio": {"SIREN": SIREN, "SIREN, first 3000": [*SIREN, FREQUENCY, "3000"], "WINNER": []},
}


@dataclass
class Arguments:
    """What to make."""

    steps: int = 500
    """Training steps of each run."""
    runs: Path = Path("outputs/pictures")
    """Where the runs are kept."""
    output: Path = Path("docs")
    """Folder for image.png and audio.png."""


def fit(kind: str, sample: str, suffix: str, arguments: Arguments) -> dict[str, tuple[Path, float]]:
    """Return the exported fit, a file of that suffix, and its PSNR, by variant."""
    results = {}
    for name, flags in VARIANTS[kind].items():
        folder = arguments.runs / name.replace(", ", "-").replace(" ", "-")
        run = folder / sample / f"winner-{kind}" / "picture"
        output = folder / f"{sample}{suffix}"
        train = ["ns-train", f"winner-{kind}", "--data", f"sample:{sample}", *flags, "--pipeline.model.parts", "1"]
        train += ["--max-num-iterations", str(arguments.steps), "--output-dir", str(folder), "--timestamp", "picture"]
        export = ["winner-export", kind, "--load-config", str(run / "config.yml"), "--output", str(output)]
        call(train)
        call(export)
        results[name] = output, json.loads((run / "metrics.json").read_text())["psnr"]
        print(f"sample:{sample}, {name}: {results[name][1]:.1f} dB", flush=True)
    return results


def draw_image(sample: str, arguments: Arguments) -> None:
    """Draw the pictures side by side, pixel for pixel, and their middles below, enlarged."""
    from winner_nerfstudio.signals.samples import IMAGES

    shown = {"target": IMAGES[sample]()}
    for name, (path, psnr) in fit("image", sample, ".png", arguments).items():
        shown[f"{name}, {psnr:.1f} dB"] = np.asarray(Image.open(path))
    figure = Figure(figsize=(10.5, 7.3), dpi=100, layout="constrained")
    axes = figure.subplots(2, 3)
    for (whole, detail), (title, picture) in zip(axes.T, shown.items(), strict=True):
        middle = slice(len(picture) * 3 // 8, len(picture) * 5 // 8)
        whole.imshow(picture, interpolation="nearest")
        detail.imshow(picture[middle, middle], interpolation="nearest")
        whole.set_title(title)
        whole.axis("off")
        detail.axis("off")
    figure.savefig(arguments.output / "image.png")


def draw_audio(sample: str, arguments: Arguments) -> None:
    """Draw spectrograms side by side, with a part of the waveform below."""
    from winner_nerfstudio.signals.samples import SOUNDS

    sound, rate = SOUNDS[sample]()
    shown = {"target": sound[:, 0]}
    for name, (path, psnr) in fit("audio", sample, ".wav", arguments).items():
        shown[f"{name}, {psnr:.1f} dB"] = soundfile.read(path)[0]
    figure = Figure(figsize=(10.5, 4.2), dpi=100, layout="constrained")
    spectra, waves = figure.subplots(2, len(shown), sharey="row", height_ratios=[2, 1])
    part = slice(round(0.1 * rate), round(0.115 * rate))
    for spectrum, wave, (title, samples) in zip(spectra, waves, shown.items(), strict=True):
        spectrum.specgram(samples, NFFT=512, Fs=rate / 1000, noverlap=384, cmap="magma", vmin=-110, vmax=-20)
        spectrum.set(title=title, xticks=[])
        wave.plot(np.arange(len(sound))[part] / rate * 1000, shown["target"][part], color="0.7", lw=3)
        wave.plot(np.arange(len(sound))[part] / rate * 1000, samples[part], color="C0", lw=1)
        wave.set(xlabel="ms", ylim=(-1, 1))
    spectra[0].set(ylabel="kHz")
    figure.savefig(arguments.output / "audio.png")


def main() -> None:
    """Train, export and draw."""
    arguments = tyro.cli(Arguments, description=__doc__)
    arguments.output.mkdir(parents=True, exist_ok=True)
    draw_image("mandala", arguments)
    draw_audio("bells", arguments)


if __name__ == "__main__":
    main()
