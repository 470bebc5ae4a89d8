"""The options of a fit: the network, its initialisation, the loss and the batches.

Whatever imports torch is imported when the options are checked or used, so that a command can list them without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

from ..signals.messages import shorten
from ..signals.records import MOST_RESOLUTION

if TYPE_CHECKING:
    import torch

    from ..signals.lattice import Lattice
    from ..winner import NoiseSchedule
    from .sampling import Drawn, Resident, Sampler

SINE_NETWORKS = ("siren", "siren-rff")
"""Names of the networks that WINNER's noise can be added to."""
SINGLE_WIDTH = 256
"""The width of the hidden layers of a single network if it is left open."""
SINGLE_DEPTH = 4
"""Their number if it is left open."""
DENOISING_EXACTNESS = 0.2
"""The exactness of the matched schedule for noisy targets if it is left open, see docs/denoising.md."""
SINGLE_BATCH = 4096
"""The points per training step of a single network if they are left open."""
OVERLAP = 2
"""Samples that neighbouring parts share by default, see docs/results.md, "Overlap"."""
MOST_LAYERS = 1000
"""A network has no more hidden layers than this."""
MOST_MEMORY = 4 << 30
"""A network takes no more bytes than this while it is trained: weights, gradients and Adam's two means of them."""


@dataclass
class NoiseOptions:
    """WINNER's noise."""

    schedule: str = "matched"
    """Rule that computes the two noise scales from the target: matched, or one of the published rules, paper and
    reference; fixed uses s0 and s1 as they are."""
    exactness: float | None = None
    """Trade-off of the matched schedule, from 0, accurate between the samples, to 1, exact on the samples; if left out,
    0.4, or 0.05 for pictures that are divided into parts."""
    denoise: bool = False
    """Whether the target is noisy and its noise is to be left out. The matched schedule then goes by what stands above
    the noise, whose strength it estimates, begins with lower frequencies than SIREN's if the target has such, and its
    exactness is 0.2 if left out; hidden_dim is so small if left out that there are 0.3 weights per value."""
    s0: float | None = None
    """Noise scale of the first layer; with s1, overrides the schedule."""
    s1: float | None = None
    """Noise scale of the second layer; with s0, overrides the schedule."""
    hidden_biases: float | None = None
    """Factor of SIREN's biases between the first and the last layer; if left out, 0 where s0 and s1 come from the
    matched schedule, else 1."""

    def check(self, flag: str = "") -> None:
        """Check each option, and that the options go together.

        Args:
            flag: prefix of the options' names in error messages.

        Raises:
            ValueError: an option is wrong, or options exclude each other; the message is one line.
        """
        from ..winner import SCHEDULES

        scales = (self.s0, self.s1)
        if (self.s0 is None) != (self.s1 is None):
            raise ValueError(f"{flag}s0 and {flag}s1 go together: give both or neither")
        if self.schedule == "fixed" and self.s0 is None:
            raise ValueError(f"{flag}schedule fixed needs {flag}s0 and {flag}s1")
        if self.schedule not in (*SCHEDULES, "fixed"):
            raise ValueError(f"{flag}schedule {self.schedule} is not one of: {', '.join(SCHEDULES)}, fixed")
        if self.s0 is not None and self.schedule not in ("matched", "fixed"):
            raise ValueError(f"{flag}schedule {self.schedule} computes s0 and s1; leave them out, or use fixed")
        if self.exactness is not None and not 0 <= self.exactness <= 1:
            raise ValueError(
                f"{flag}exactness {self.exactness} must lie in [0, 1], from true between the samples to exact on them"
            )
        if self.exactness is not None and (self.schedule != "matched" or self.s0 is not None):
            raise ValueError(
                f"{flag}exactness is the matched schedule's; leave it out, or leave s0, s1 and the schedule out"
            )
        if self.denoise and (self.schedule != "matched" or self.s0 is not None):
            raise ValueError(
                f"{flag}denoise is the matched schedule's; leave it out, or leave s0, s1 and the schedule out"
            )
        if any(scale is not None and not 0 <= scale < float("inf") for scale in scales):
            raise ValueError(f"noise scales s0={self.s0} and s1={self.s1} must be finite and not negative")
        if self.hidden_biases is not None and not 0 <= self.hidden_biases < float("inf"):
            raise ValueError(f"{flag}hidden_biases {self.hidden_biases} must be finite and not negative")

    def rule(self, lowers: bool = False) -> NoiseSchedule:
        """Return the noise schedule that the options describe; `lowers` as in `NoiseSchedule.matched`."""
        from ..winner import EXACTNESS, SCHEDULES, NoiseSchedule

        if self.s0 is not None and self.s1 is not None:
            return NoiseSchedule.fixed(self.s0, self.s1)
        if self.schedule == "matched":
            default = DENOISING_EXACTNESS if self.denoise else EXACTNESS
            exactness = default if self.exactness is None else self.exactness
            return NoiseSchedule.matched(exactness, lowers=lowers or self.denoise)
        return SCHEDULES[self.schedule]()


@dataclass
class NetworkOptions:
    """A network and its initialisation."""

    network: str = "siren"
    """Network: siren, or a network to compare it with: finer, finer++, gauss, h-siren, relu-pe, siren-rff, staf or
    wire."""
    num_layers: int | None = None
    """Number of hidden layers; if left out, 4, or what suits the parts if the signal is divided into such."""
    hidden_dim: int | None = None
    """Width of each hidden layer; if left out, 256, or what size says if the signal is divided into parts."""
    omega_0: float | None = None
    """Frequency of the layers from the second on; if left out, the network's own default, which is 30 for siren."""
    first_omega_0: float | None = None
    """Frequency of the first layer; if left out, the network's own default, which is 30 for siren."""
    network_args: dict[str, float] = field(default_factory=dict)
    """Further arguments of the network by name, such as "a 0.1" for gauss."""
    parts: tuple[int, ...] | Literal["auto"] = "auto"
    """Number of parts into which a regularly sampled signal is divided along its longest axis, or along each axis; each
    part is fitted by a network of its own, of hidden_dim and num_layers, with noise for its own samples. With auto,
    signals of many samples are divided, unless some are held out or noisy, or the network's width, layers, frequencies
    or another network are asked for. Of a mesh it is the number of cells along each axis of its cube, and each that the
    surface passes through has a network of its own; with auto as many as the surface needs."""
    size: Literal["small", "medium", "large"] | None = None
    """Width of the networks of the parts if hidden_dim is left out: larger ones fit better and take more bytes. If left
    out, medium, or large for pictures of up to 65,536 pixels that are divided by auto."""
    overlap: int | None = None
    """Number of samples that neighbouring parts share; if left out, 2, the fewest."""
    init: Literal["auto", "winner", "siren", "weight-scaling", "gradient-control", "matched-scaling"] = "auto"
    """Initialisation: winner is SIREN's with WINNER's noise, and siren is SIREN's alone; weight-scaling and
    gradient-control are SIREN's with other scales, to compare them with, and matched-scaling is the former with a
    factor for the target; auto is winner for siren, and the network's own for any other network."""
    noise: NoiseOptions = field(default_factory=NoiseOptions)
    """WINNER's noise."""

    def check(self, axes: int, flag: str = "") -> None:
        """Check each option, and that the options go together.

        Args:
            axes: number of coordinates per point of the target.
            flag: prefix of the options' names in error messages.

        Raises:
            ValueError: an option is wrong, or options exclude each other; the message is one line.
        """
        if self.depth < 2 or self.width < 1:
            raise ValueError(f"num_layers={self.depth} must be at least 2 and hidden_dim={self.width} at least 1")
        if self.size not in (None, "small", "medium", "large"):
            raise ValueError(f"{flag}size {self.size} is not one of: small, medium, large")
        self._check_memory(16 * (self.depth - 1) * self.width**2)
        if self.depth > MOST_LAYERS:
            raise ValueError(f"num_layers={self.depth} must be at most {MOST_LAYERS:,}")
        self._check_parts(axes, flag)
        self._check_network(flag)
        self._check_initialization(flag)
        self.noise.check(f"{flag}noise.")
        if axes > 2 and self.noise.schedule in ("paper", "reference"):
            raise ValueError(
                f"{flag}noise.schedule {self.noise.schedule} has no rule for targets of {axes} axes; use matched, or"
                " fixed with s0 and s1"
            )
        if self.has_noise and self.network == "siren-rff" and self.noise.rule().name == "matched":
            raise ValueError(
                f"{flag}noise.schedule matched doesn't know the frequencies that siren-rff puts before its sines; use"
                " reference, or fixed with s0 and s1"
            )

    def _check_network(self, flag: str) -> None:
        import torch

        from ..networks import DIVIDED, NETWORKS, SIZES, build_network, complete_arguments

        names = [name for name in NETWORKS if name not in DIVIDED]
        if self.network not in names:
            raise ValueError(f"network={self.network} is not one of: {', '.join(names)}")
        accepted = [name for name in signature(NETWORKS[self.network]).parameters if name not in SIZES]
        for name in self._collect_special_arguments():
            if name not in accepted:
                raise ValueError(
                    f"{flag}network {self.network} has no {name}; it takes {', '.join(accepted) or 'none'}"
                )
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):  # checks the sizes without taking memory
                network = build_network(**complete_arguments(**self.specification(1, 1)))
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{flag}network {self.network}: {shorten(error, 200)}") from None
        self._check_memory(4 * sum(value.numel() * value.element_size() for value in network.state_dict().values()))

    def _check_memory(self, needed: int) -> None:
        if needed > MOST_MEMORY:
            raise ValueError(
                f"num_layers={self.depth} and hidden_dim={self.width} make a {self.network} that takes"
                f" {needed / 1e9:,.3g} GB of memory to train; {MOST_MEMORY / 1e9:.3g} GB is the most, so use a smaller"
                " network"
            )

    def _check_parts(self, axes: int, flag: str) -> None:
        from ..winner import SCALED

        if self.parts != "auto" and (
            isinstance(self.parts, str) or len(self.parts) not in (1, axes) or min(self.parts, default=0) < 1
        ):
            raise ValueError(
                f"{flag}parts={self.parts} must be auto, or one or {axes} numbers of parts, each at least 1"
            )
        if self.has_parts and self.network != "siren":
            raise ValueError(f"{flag}parts are fitted by siren; leave {flag}network {self.network} out, or the parts")
        if self.has_parts and self.init in SCALED:
            raise ValueError(f"{flag}init {self.init} is for a single network; use {flag}parts 1, or another init")
        if self.has_parts and self.noise.denoise:
            raise ValueError(f"{flag}noise.denoise is for a single network; leave {flag}parts out")
        if self.overlap is not None and self.overlap < 2:
            raise ValueError(f"{flag}overlap={self.overlap} must be at least 2 samples")
        if self.overlap is not None and not self.has_parts:
            raise ValueError(f"{flag}overlap={self.overlap} needs {flag}parts, the parts that overlap, as well")

    def _check_initialization(self, flag: str) -> None:
        from ..winner import SCALED

        names = ("auto", "winner", "siren", *SCALED)
        if self.init not in names:
            raise ValueError(f"{flag}init {self.init} is not one of: {', '.join(names)}")
        if self.init != "auto" and self.network not in SINE_NETWORKS:
            raise ValueError(
                f"{flag}init {self.init} is for {' and '.join(SINE_NETWORKS)}; {self.network} has its own, so leave it"
                " out"
            )
        if self.init == "matched-scaling" and self.network == "siren-rff":
            raise ValueError(
                f"{flag}init matched-scaling doesn't know the frequencies that siren-rff puts before its sines"
            )
        if not self.has_noise and self.noise != NoiseOptions():
            remedy = "use init winner" if self.network in SINE_NETWORKS else "use network siren"
            raise ValueError(f"init {self.init} of {self.network} has no noise; leave {flag}noise out, or {remedy}")

    @property
    def has_parts(self) -> bool:
        """Return whether the signal is divided into parts; "auto" does not do so before `make_plan` has chosen."""
        return self.parts != "auto" and max(self.parts) > 1

    @property
    def width(self) -> int:
        """Return the width of each hidden layer, that of a single network if it is left open."""
        return SINGLE_WIDTH if self.hidden_dim is None else self.hidden_dim

    @property
    def depth(self) -> int:
        """Return the number of hidden layers, that of a single network if it is left open."""
        return SINGLE_DEPTH if self.num_layers is None else self.num_layers

    @property
    def shared(self) -> int:
        """Return the number of samples that neighbouring parts share, the default if it is left open."""
        return OVERLAP if self.overlap is None else self.overlap

    @property
    def has_noise(self) -> bool:
        """Return whether WINNER's noise is added to the initialisation."""
        return self.init == "winner" or (self.init == "auto" and self.network == "siren")

    @property
    def measures_target(self) -> bool:
        """Return whether the noise's scales come from the target, and are not set by hand."""
        return self.has_noise and self.noise.s0 is None

    def _collect_special_arguments(self) -> dict[str, float]:
        """Return the arguments that the user has set and that only some networks have."""
        omegas = {"omega_0": self.omega_0, "first_omega_0": self.first_omega_0}
        # Some arguments are counts, and those must be integers.
        arguments = {name: int(value) if value % 1 == 0 else value for name, value in self.network_args.items()}
        return arguments | {name: value for name, value in omegas.items() if value is not None}

    def specification(self, in_dim: int, out_dim: int, lattice: Lattice | None = None) -> dict[str, Any]:
        """Return the arguments with which `build_network` builds this network.

        Args:
            in_dim: coordinates per point.
            out_dim: values per point.
            lattice: the samples of a signal that may be divided into parts.
        """
        return {
            "name": self.network,
            "in_dim": in_dim,
            "out_dim": out_dim,
            "hidden_dim": self.width,
            "num_layers": self.depth,
            **self._collect_special_arguments(),
            **(self._divide(lattice) if self.has_parts and lattice is not None else {}),
        }

    def _divide(self, lattice: Lattice) -> dict[str, Any]:
        """Return the arguments that make a `Bank` for these samples."""
        assert self.parts != "auto"
        shape, parts = lattice.shape, self.parts
        if len(parts) != len(shape):
            parts = tuple(max(1, round(parts[0] * size / max(shape))) for size in shape)
        arguments = {"name": "bank", "shape": list(shape), "parts": list(parts), "overlap": self.shared}
        return arguments if len(set(lattice.pitch)) == 1 else arguments | {"pitch": list(lattice.pitch)}


@dataclass
class DistanceOptions(NetworkOptions):
    """A network for a signed distance, its initialisation and its loss."""

    truncation: float = 0.1
    """For meshes: distances are clamped to plus or minus this before they are compared (unit-cube lengths), which
    favours detail near the surface."""
    far_weight: float = 1.0
    """For meshes: weight of the error of unclamped distances, where that of clamped ones has weight 1; it keeps values
    far from the surface a distance."""
    hardest: float = 0.5
    """For meshes: fraction of a batch's points that a step uses, those with the greatest errors; 1 uses all."""
    on_surface_weight: float = 3000.0
    """For point clouds: weight of the mean absolute value at the points."""
    off_surface_weight: float = 100.0
    """For point clouds: weight of the penalty on values near zero, or of the wrong sign, elsewhere in the cube."""
    distance_weight: float = 1000.0
    """For point clouds: weight of the error of the distance off the surface, which is estimated from the nearest
    points; 0 leaves SIREN's own loss, which cannot tell the inside from the outside."""
    normal_weight: float | None = None
    """Weight of the angle between gradients and normals on the surface; if left out, 100 for point clouds and 0 for
    meshes."""
    eikonal_weight: float | None = None
    """Weight of the mean deviation of the gradient's length from 1; if left out, 50 for point clouds and 0 for
    meshes."""
    eval_resolution: int = 128
    """Samples per axis with which the surface is extracted for the metrics."""

    def check(self, axes: int, flag: str = "") -> None:
        """Check each option, and that the options go together; see `NetworkOptions.check`."""
        if not (self.truncation > 0 and self.far_weight >= 0 and 3 <= self.eval_resolution <= MOST_RESOLUTION):
            raise ValueError(
                f"truncation={self.truncation} must be positive, far_weight={self.far_weight} not negative and"
                f" eval_resolution={self.eval_resolution} 3 to {MOST_RESOLUTION:,}"
            )
        if not 0 < self.hardest <= 1:
            raise ValueError(f"hardest={self.hardest} must be a fraction of the points, above 0 and at most 1")
        for name in ("on_surface", "off_surface", "distance", "normal", "eikonal"):
            weight = getattr(self, f"{name}_weight")
            if weight is not None and not 0 <= weight < float("inf"):
                raise ValueError(f"{name}_weight={weight} must be finite and not negative")
        super().check(axes, flag)
        self._check_cells(flag)

    def _check_cells(self, flag: str) -> None:
        """Check the options of a shape that is divided into cells."""
        from ..networks.cells import MOST_CELLS

        if self.parts != "auto" and self.has_parts and (len(set(self.parts)) > 1 or self.parts[0] > MOST_CELLS):
            raise ValueError(
                f"{flag}parts={self.parts}: a shape's cube is divided into as many cells along each axis; give one"
                f" number from 2 to {MOST_CELLS}"
            )
        if self.overlap is not None:
            raise ValueError(f"{flag}overlap={self.overlap} is for regularly sampled signals; leave it out")
        if self.has_parts and (self.normal_weight or self.eikonal_weight):
            raise ValueError(
                f"{flag}normal_weight and {flag}eikonal_weight are for a single network; leave them or {flag}parts out"
            )


@dataclass
class BatchOptions:
    """The batches of points that a signal is fitted with."""

    batch_size: int | None = None
    """Points per training step."""

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: an option is out of its range; the message is one line.
        """
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} must be at least 1")

    @property
    def points(self) -> int:
        """Return the points per training step, those for a single network if they are left open."""
        return SINGLE_BATCH if self.batch_size is None else self.batch_size

    def sampler(self, signal: Any, device: torch.device, seed: int) -> Sampler:
        """Return the sampler that serves the batches of a signal."""
        raise NotImplementedError


@dataclass
class ResidentOptions(BatchOptions):
    """Batches of a signal whose samples are all in memory."""

    batch_size: int | None = None
    """Greatest number of samples per training step, of each part if the signal is divided; if no smaller than the
    number of samples, every step uses all. If left out, 4096, or 512 of each part."""
    between: float | None = None
    """Share of the training steps, from 0 to 1, that fit a divided signal half-way between its samples, where it is
    interpolated; if left out, 0.25, or 0 if samples are held out or the target is known to be noisy."""

    def check(self) -> None:
        """Check the options; see `BatchOptions.check`."""
        super().check()
        if self.between is not None and not 0 <= self.between <= 1:
            raise ValueError(f"between={self.between} must be a share of the steps, from 0 to 1")

    def sampler(self, signal: Any, device: torch.device, seed: int) -> Resident:
        """Return the sampler that serves the batches of a signal."""
        from .sampling import Derived, Resident

        sampler = Resident if signal.derivatives is None else Derived
        return sampler(signal, device, seed, self.points)


@dataclass
class DrawnOptions(BatchOptions):
    """Batches of a signal from which new points are drawn throughout the training."""

    batch_size: int = 2048
    """Points per training step."""
    steps_per_chunk: int = 256
    """Number of steps that use one draw of points; the next points are drawn meanwhile."""
    passes: int = 2
    """Greatest number of times that a point is used before it is dropped, in a new order each time; all points are used
    so often if it divides steps_per_chunk."""

    def check(self) -> None:
        """Check the options; see `BatchOptions.check`."""
        if min(self.steps_per_chunk, self.passes) < 1 or self.passes > self.steps_per_chunk:
            raise ValueError(
                f"steps_per_chunk={self.steps_per_chunk} and passes={self.passes} must be at least 1, and passes no"
                " more than steps_per_chunk"
            )
        super().check()

    def sampler(self, signal: Any, device: torch.device, seed: int) -> Drawn:
        """Return the sampler that serves the batches of a signal."""
        from .sampling import Drawn

        return Drawn(signal, device, seed, self.points, self.steps_per_chunk, self.passes)
