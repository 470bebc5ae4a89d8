"""Plots of a study's results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"siren": "C0", "winner": "C1", "weight-scaling": "C2", "gradient-control": "C3", "matched-scaling": "C4"}
DEPTH = 1e-9
"""The least density that is drawn, as a part of the greatest; below are the side lobes of the window."""
STAGES = {"pre_activation": "argument of sine", "post_activation": "sine", "output": "output"}


def label_of(state: dict[str, Any]) -> str:
    """Return the label of a network: ``WINNER, start``, ``WINNER, 200 steps``."""
    return f"{state['init'].upper()}, {format(state['steps'], ',') + ' steps' if state['steps'] else 'start'}"


def draw_spectra(study: dict[str, Any], path: Path) -> None:
    """Draw the spectra: a column for each layer, arguments above, sines below, the target in all of them.

    Args:
        study: The result of `study`.
        path: The file to write.
    """
    target, layers = study["target"], study["network"]["num_layers"] + 1
    figure = _figure(3.1 * layers, 6.2)
    plots = figure.subplots(2, layers, sharex=True, sharey=True, squeeze=False)
    floor, ceiling = _limits(study)
    for plot in plots.flat:
        plot.fill_between(target["frequency"], floor, target["density"], color="0.85", label="target")
        plot.axvline(1, color="0.4", lw=0.8, ls=":")
    for state in study["states"]:
        for layer in state["layers"]:
            row = 0 if layer["stage"] == "pre_activation" else 1
            plot = plots[row, layer["layer"] - 1]
            plot.plot(study["frequency"], layer["density"], **_style(state))
            stage = STAGES[layer["stage"]]
            plot.set_title(f"{layer['layer']}: {stage}" if layer["stage"] != "output" else stage)
    plots[0, 0].set(xscale="log", yscale="log", ylim=(floor, ceiling))
    plots[0, 0].set_xlim(min(target["frequency"][0], study["frequency"][0]), study["frequency"][-1])
    for plot in plots[:, 0]:
        plot.set_ylabel("density of power")
    for plot in plots[1]:
        plot.set_xlabel("frequency / Nyquist")
    for plot in plots[0, :-1]:
        _add_cycles(plot, target["nyquist"])
    _replace_by_legend(plots[0, -1], *plots[1, -1].get_legend_handles_labels())
    figure.suptitle(f"{Path(target['name']).name}: power spectra, each of total 1, mean over units and lines")
    figure.savefig(path, dpi=100)


def draw_kernel(study: dict[str, Any], path: Path) -> None:
    """Draw the tangent kernels: eigenvalues, the target's share, and each eigenbasis' spectrum.

    Args:
        study: The result of `study`.
        path: The file to write.
    """
    states = study["states"]
    figure = _figure(max(10.0, 3.3 * len(states)), 7.2)
    parts: Any = figure.subfigures(2, 1)
    above, below = parts
    _draw_eigenvalues(above.subplots(1, 3), states)
    maps = below.subplots(1, len(states), sharey=True, squeeze=False)[0]
    for plot, state in zip(maps, states, strict=True):
        _draw_basis(plot, state)
    maps[0].set_ylabel("frequency / Nyquist")
    figure.suptitle(
        f"{Path(study['target']['name']).name}: tangent kernel on {study['kernel']['samples']:,} neighbouring samples"
    )
    figure.savefig(path, dpi=100)


def _draw_eigenvalues(plots: Any, states: list[dict[str, Any]]) -> None:
    """Draw the decay of the eigenvalues, the eigenvectors' frequencies, and the target's share in them."""
    decay, frequency, energy = plots
    for state in states:
        kernel, style = state["ntk"], _style(state)
        resolved = kernel["resolved"]
        index, eigenvalues = np.arange(1, resolved + 1), np.asarray(kernel["eigenvalues"][:resolved])
        share = eigenvalues / eigenvalues[0]
        decay.plot(index, share, **style)
        dots = {"marker": "." if state["steps"] else "+", "ls": "", "ms": 4, "alpha": 0.6}
        frequency.plot(share, kernel["frequency"][:resolved], **style | dots)
        energy.plot(share, np.cumsum(kernel["energy"][:resolved]), **style)
    decay.set(xscale="log", yscale="log", xlabel="index of the eigenvalue", ylabel="eigenvalue / greatest")
    frequency.set(xscale="log", xlabel="eigenvalue / greatest", ylabel="mean frequency / Nyquist", ylim=(0, 1))
    energy.set(xscale="log", xlabel="eigenvalue / greatest", ylabel="share of the target, summed", ylim=(-0.03, 1.03))
    decay.set_title("decay of the eigenvalues")
    frequency.set_title("frequency of the eigenvectors")
    energy.set_title("target in the eigenvectors")
    for plot in (frequency, energy):
        plot.invert_xaxis()
        plot.sharex(frequency)
    decay.legend(frameon=False)


def _draw_basis(plot: Any, state: dict[str, Any]) -> None:
    """Draw the spectrum of each eigenvector as a column, the greatest eigenvalue on the left."""
    kernel = state["ntk"]
    spectrum, count = np.asarray(kernel["spectrum"]), len(kernel["eigenvalues"])
    spectrum = spectrum / spectrum.max(1, keepdims=True)
    plot.imshow(spectrum.T, origin="lower", aspect="auto", extent=(0.5, count + 0.5, 0, 1), cmap="magma", vmin=0)
    if kernel["resolved"] < count:
        plot.axvspan(kernel["resolved"] + 0.5, count + 0.5, color="0.9")
        middle = (kernel["resolved"] + count + 1) / 2
        plot.text(middle, 0.5, "not resolved", ha="center", va="center", rotation="vertical", color="0.4")
    plot.set(title=label_of(state), xlabel="index of the eigenvector")


def _figure(width: float, height: float) -> Figure:
    # Without pyplot, which keeps metrics and wants the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(state: dict[str, Any]) -> dict[str, Any]:
    """Return how a state of the network is drawn: solid once it was trained, dashed before."""
    solid = {"ls": "-", "lw": 1.6} if state["steps"] else {"ls": "--", "lw": 1.1}
    return {"color": COLORS[state["init"]], "label": label_of(state), **solid}


def _limits(study: dict[str, Any]) -> tuple[float, float]:
    """Return the least and the greatest density that is shown."""
    spectra = [study["target"], *(layer for state in study["states"] for layer in state["layers"])]
    greatest = max(max(spectrum["density"]) for spectrum in spectra) or 1.0
    return DEPTH * greatest, 3 * greatest


def _add_cycles(plot: Any, nyquist: dict[str, float]) -> None:
    """Add an axis above in cycles per unit of the network's coordinates."""
    cycles = nyquist["cycles_per_unit"]
    axis = plot.secondary_xaxis("top", functions=(lambda x: x * cycles, lambda x: x / cycles))
    axis.set_xlabel("cycles per unit", fontsize="small")
    axis.tick_params(labelsize="small")


def _replace_by_legend(plot: Any, handles: list[Any], labels: list[str]) -> None:
    """Hide what a panel shows, and put a legend there."""
    plot.set_axis_off()
    for artist in [*plot.collections, *plot.lines]:
        artist.set_visible(False)
    plot.legend(handles, labels, loc="center", frameon=False)
