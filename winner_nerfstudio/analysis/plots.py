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
PARTS = {
    "centroid": "centroid / Nyquist",
    "s0": "s0, first layer's noise",
    "s1": "s1, second layer's noise",
    "factor": "factor of the first layer",
}
"""What is drawn of the parts of a target, with its title."""
STAGES = {"pre_activation": "argument of sine", "post_activation": "sine", "output": "output"}


def label_of(state: dict[str, Any]) -> str:
    """Return the label of a network: ``WINNER, start``, ``WINNER, 200 steps``."""
    return f"{state['init'].upper()}, {format(state['steps'], ',') + ' steps' if state['steps'] else 'start'}"


def name_of(study: dict[str, Any]) -> str:
    """Return the name of a study's target without its folder, and why a part was chosen."""
    rank = f" ({study['rank']} centroid)" if "rank" in study else ""
    return Path(study["target"]["name"]).name + rank


def draw_parts(study: dict[str, Any], path: Path) -> None:
    """Draw how the centroids and the noise scales are distributed over the parts of a target.

    Of a picture they are drawn as maps, of a sound as lines over its parts, and of volumes and shapes as histograms.
    The members that are looked at are marked. What is the same in all parts is left out.

    Args:
        study: The result of `study`.
        path: The file to write.
    """
    parts = study["parts"]
    names = [name for name in PARTS if name == "centroid" or len(set(parts.get(name, ()))) > 1]
    index, kind = np.array(parts["index"]), len(parts["count"])
    wide = (4.4 * len(names), 3.9) if kind != 1 else (10.0, 2.3 * len(names))
    figure = _figure(*wide)
    plots = figure.subplots(*((len(names), 1) if kind == 1 else (1, len(names))), squeeze=False, sharex=kind == 1).flat
    for plot, name in zip(plots, names, strict=True):
        values = np.array(parts[name])
        if kind == 1:
            _draw_line(plot, index[:, 0], values, study["members"])
            plot.set_ylabel(PARTS[name])
        else:
            (_draw_map if kind == 2 else _draw_histogram)(plot, index, values, study["members"])
            plot.set_title(PARTS[name])
    if kind == 1:
        plots[-1].set_xlabel("part")
    figure.suptitle(f"{name_of(study)}: {parts['total']:,} parts of {' x '.join(map(str, parts['samples']))} samples")
    figure.savefig(path, dpi=100)


def _draw_map(plot: Any, index: np.ndarray, values: np.ndarray, members: dict[str, Any]) -> None:
    """Draw values of parts along two axes as a picture, and mark members by their initials."""
    rows, columns = (np.unique(axis) for axis in index.T)
    step = max(1, *(int(axis[1] - axis[0]) for axis in (rows, columns) if len(axis) > 1), 1)
    extent = (-0.5, columns[-1] + step - 0.5, rows[-1] + step - 0.5, -0.5)
    picture = plot.imshow(values.reshape(len(rows), len(columns)), extent=extent)
    for axis in (plot.xaxis, plot.yaxis):
        axis.get_major_locator().set_params(integer=True)
    plot.figure.colorbar(picture, ax=plot, shrink=0.85)
    for rank, member in members.items():
        row, column = (each + (step - 1) / 2 for each in member["index"])
        plot.plot(column, row, "s", mfc="none", mec="C3", ms=9)
        plot.annotate(rank, (column, row), (0, 8), textcoords="offset points", color="C3", ha="center")


def _draw_line(plot: Any, index: np.ndarray, values: np.ndarray, members: dict[str, Any]) -> None:
    """Draw values of parts along one axis as a line, and mark members."""
    plot.plot(index, values, lw=0.9)
    for rank, member in members.items():
        (at,) = member["index"]
        plot.axvline(at, color="C3", lw=0.8, ls=":")
        plot.annotate(
            rank, (at, 1), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points", color="C3", va="top"
        )


def _draw_histogram(plot: Any, index: np.ndarray, values: np.ndarray, members: dict[str, Any]) -> None:
    """Draw how many parts have which values, and mark members."""
    plot.hist(values, bins=min(40, max(5, len(values) // 5)), color="0.6")
    plot.set_ylabel("parts")
    for height, (rank, member) in enumerate(members.items()):
        at = values[index.tolist().index(member["index"])]
        is_right = at > (values.min() + values.max()) / 2
        plot.axvline(at, color="C3", lw=1, ls=":")
        plot.annotate(
            rank,
            (at, 1),
            (-2 if is_right else 2, -2 - 12 * height),
            ha="right" if is_right else "left",
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color="C3",
            va="top",
        )


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
    figure.suptitle(f"{name_of(study)}: power spectra, each of total 1, mean over units and lines")
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
    figure.suptitle(f"{name_of(study)}: tangent kernel on {study['kernel']['samples']:,} neighbouring samples")
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
