import inspect
import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from winner_nerfstudio.fields import Field
from winner_nerfstudio.networks import NETWORKS, Siren, build_network
from winner_nerfstudio.networks.staf import SumOfSines
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ImageRecord
from winner_nerfstudio.winner import siren_init_, winner_init_

NAMES = ["siren", "finer", "finer++", "wire", "gauss", "relu-pe", "siren-rff", "h-siren", "staf"]
SINES = ["siren", "finer", "finer++", "siren-rff", "h-siren"]
COORDS = np.random.default_rng(0).uniform(-1, 1, (50, 2))

RECORD = ImageRecord(shape=(2, 2), offset=0.0, amplitude=1.0, digest="", mode="L", dtype="<f4")


def build(name, in_dim=2, out_dim=3, hidden_dim=24, num_layers=3, seed=0, **arguments):
    torch.manual_seed(seed)
    sizes = {"in_dim": in_dim, "out_dim": out_dim, "hidden_dim": hidden_dim, "num_layers": num_layers}
    return build_network(name, **sizes, **arguments)


def linears(network):
    return [part for part in network.modules() if isinstance(part, nn.Linear)]


def by_formula(network, coords, encode, *activations):
    """The network's values in double precision, from its weights and the formulas that are given."""
    x = encode(coords)
    for layer, activation in zip(linears(network), [*activations, lambda z: z], strict=True):
        weight, bias = (part.detach().numpy().astype(complex) for part in (layer.weight, layer.bias))
        x = activation(x @ weight.T + bias)
    return x.real


def nothing(x):
    return x


def finer_sine(omega):
    return lambda z: np.sin(omega * (np.abs(z) + 1) * z)


def gabor(omega, s):
    return lambda z: np.exp(1j * omega * z) * np.exp(-(s**2) * (z.real**2 + z.imag**2))


def hyperbolic(omega):
    return lambda z: np.sin(omega * np.sinh(2 * z))


def sum_of_sines(part):
    terms = [p.detach().double().numpy() for p in (part.amplitudes, part.frequencies, part.phases)]
    return lambda z: sum(c * np.sin(w * z + p) for c, w, p in zip(*terms, strict=True))


def sums_of_sines(network):
    return [sum_of_sines(part) for part in network if isinstance(part, SumOfSines)]


def bump(a):
    return lambda z: np.exp(-(z**2) / (2 * a**2))


def positional(x, octaves):
    return np.concatenate([x, octave_waves(x, octaves)], axis=1)


def octave_waves(x, octaves):
    parts = [f(2**k * math.pi * x[:, d]) for d in range(x.shape[1]) for k in range(octaves) for f in (np.sin, np.cos)]
    return np.stack(parts, axis=1)


def fourier(x, matrix):
    angles = 2 * math.pi * x @ matrix.double().numpy().T
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def reference(name, network, coords):
    """`by_formula` with the defaults of each network of three activated layers."""
    if name == "siren":
        return by_formula(network, coords, nothing, *[lambda z: np.sin(30 * z)] * 3)
    if name in ("finer", "finer++"):
        return by_formula(network, coords, nothing, *[finer_sine(30)] * 3)
    if name == "wire":
        return by_formula(network, coords, nothing, *[gabor(20, 10)] * 3)
    if name == "gauss":
        return by_formula(network, coords, nothing, *[bump(0.09)] * 3)
    if name == "relu-pe":
        return by_formula(network, coords, lambda x: positional(x, 10), *[lambda z: np.maximum(z.real, 0)] * 3)
    if name == "h-siren":
        return by_formula(network, coords, nothing, hyperbolic(30), *[lambda z: np.sin(30 * z)] * 2)
    if name == "staf":
        return by_formula(network, coords, nothing, *sums_of_sines(network))
    matrix = network.state_dict()["0.B"]
    return by_formula(network, coords, lambda x: fourier(x, matrix), *[lambda z: np.sin(30 * z)] * 3)


def values(network, coords):
    return network(torch.tensor(coords, dtype=torch.float32)).detach().numpy()


def test_the_registry_holds_these_networks():
    assert list(NETWORKS) == [*NAMES, "bank", "cells"]
    with pytest.raises(ValueError, match="network='mlp' is not one of: siren, finer, "):
        build_network("mlp")


@pytest.mark.parametrize("name", NAMES)
def test_every_constructor_starts_alike_and_its_defaults_can_be_stored(name):
    parameters = list(inspect.signature(NETWORKS[name]).parameters.values())
    (a, b, c, d), others = parameters[:4], parameters[4:]
    assert [p.name for p in (a, b, c, d)] == ["in_dim", "out_dim", "hidden_dim", "num_layers"]
    assert (c.default, d.default) == (256, 4)
    assert all(type(p.default) in (int, float, bool, type(None)) for p in others)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_the_formula(name):
    network = build(name)
    np.testing.assert_allclose(values(network, COORDS), reference(name, network, COORDS), atol=3e-4)


def test_finers_own_frequencies():
    network = build("finer", num_layers=2, omega_0=7, first_omega_0=4)
    expected = by_formula(network, COORDS, nothing, finer_sine(4), finer_sine(7))
    np.testing.assert_allclose(values(network, COORDS), expected, atol=1e-4)


def test_wires_own_frequencies_and_envelope():
    network = build("wire", num_layers=2, omega_0=7, first_omega_0=4, s_0=3)
    expected = by_formula(network, COORDS, nothing, gabor(4, 3), gabor(7, 3))
    np.testing.assert_allclose(values(network, COORDS), expected, atol=1e-4)


def test_h_sirens_own_frequencies():
    network = build("h-siren", num_layers=2, omega_0=7, first_omega_0=4)
    expected = by_formula(network, COORDS, nothing, hyperbolic(4), lambda z: np.sin(7 * z))
    np.testing.assert_allclose(values(network, COORDS), expected, atol=1e-4)
    first, *rest = linears(build("h-siren", 3, 200, 1000, 3, omega_0=20.0))
    fills(first.weight, 1 / 3)
    for layer in rest:
        fills(layer.weight, math.sqrt(6 / 1000) / 20)


def test_stafs_sums_begin_as_their_distributions_say():
    network = build("staf", num_layers=2, tau=20_000, hidden_dim=4, omega_0=7.0, first_omega_0=40.0)
    for part, omega in zip([network[1], network[3]], (40, 7), strict=True):
        fills(part.frequencies - omega / 2, omega / 2)
        fills(part.phases, math.pi)
        squares = part.amplitudes.detach().square()  # of a Laplace distribution: exponential, of mean 1 / (2 tau)
        assert squares.mean() == pytest.approx(1 / 40_000, rel=0.03)
        assert squares.std() == pytest.approx(1 / 40_000, rel=0.05)
        assert abs(part.amplitudes.sign().mean()) < 0.03
    assert sum(p.numel() for p in build("staf", tau=3)[1].parameters()) == 9


def test_gausss_own_width():
    network = build("gauss", num_layers=2, a=0.3)
    expected = by_formula(network, COORDS, nothing, bump(0.3), bump(0.3))
    np.testing.assert_allclose(values(network, COORDS), expected, atol=1e-5)


@pytest.mark.parametrize("include_input, encode, features", [(True, positional, 27), (False, octave_waves, 24)])
def test_relu_pes_own_octaves(include_input, encode, features):
    network = build("relu-pe", in_dim=3, num_frequencies=4, num_layers=1, include_input=include_input)
    coords = np.random.default_rng(1).uniform(-1, 1, (20, 3))
    expected = by_formula(network, coords, lambda x: encode(x, 4), lambda z: np.maximum(z.real, 0))
    assert linears(network)[0].in_features == features
    np.testing.assert_allclose(values(network, coords), expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_network_ties_the_two_ends_of_the_cube(name):
    network = build(name)
    assert (network(torch.tensor([[-1.0, 0.5]])) - network(torch.tensor([[1.0, 0.5]]))).abs().max() > 1e-3


def test_siren_rffs_own_features_and_frequencies():
    network = build("siren-rff", num_layers=2, num_features=5, sigma=0.5, omega_0=7, first_omega_0=4)
    matrix = network.state_dict()["0.B"]
    sines = (lambda z: np.sin(4 * z)), (lambda z: np.sin(7 * z))
    assert matrix.shape == (5, 2)
    expected = by_formula(network, COORDS, lambda x: fourier(x, matrix), *sines)
    np.testing.assert_allclose(values(network, COORDS), expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_any_leading_axes_give_real_float32(name):
    network = build(name, in_dim=3, out_dim=2, hidden_dim=8)
    coords = torch.rand(4, 5, 3)
    got = network(coords)
    assert got.shape == (4, 5, 2)
    assert got.dtype == torch.float32
    torch.testing.assert_close(network(coords[1, 2]), got[1, 2], atol=1e-4, rtol=1e-4)
    assert network(coords[:0]).shape == (0, 5, 2)


@pytest.mark.parametrize("name", NAMES)
def test_everything_follows_the_network_to_its_device(name):
    network = build(name).to("meta")
    assert network(torch.empty(5, 2, device="meta")).device.type == "meta"


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_the_same(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network = build(name)
    got = network.to("cuda")(torch.tensor(COORDS, dtype=torch.float32, device="cuda"))
    got.square().mean().backward()
    np.testing.assert_allclose(got.detach().cpu(), reference(name, network.cpu(), COORDS), atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_by_the_coordinates_are_the_slope(name):
    network = build(name, **({"scale_grad": True} if "finer" in name else {}))
    coords = torch.tensor(COORDS, dtype=torch.float32, requires_grad=True)
    (got,) = torch.autograd.grad(network(coords)[:, 0].sum(), coords)
    step, at = np.array([1e-6, 0.0]), coords.detach().double().numpy()
    slope = (reference(name, network, at + step) - reference(name, network, at - step))[:, 0] / 2e-6
    # Not all points: rounding may carry one across a ReLU's kink.
    assert np.quantile(np.abs(got[:, 0].numpy() - slope), 0.9) < 0.01 * np.abs(slope).max()


@pytest.mark.parametrize("scale_grad", [False, True])
def test_finer_holds_its_factor_constant_in_derivatives_unless_scale_grad(scale_grad):
    network = build("finer", in_dim=1, out_dim=1, num_layers=1, scale_grad=scale_grad)
    network(torch.tensor([[0.3]])).backward()
    first, last = linears(network)
    z = (0.3 * first.weight[:, 0] + first.bias).detach().double()
    inner = 30 * (2 * z.abs() + 1) if scale_grad else 30 * (z.abs() + 1)
    expected = last.weight[0].double() * inner * torch.cos(30 * (z.abs() + 1) * z)
    torch.testing.assert_close(first.bias.grad.double(), expected, rtol=1e-3, atol=1e-3)


def fills(parameter, bound, within=0.1):
    """Uniform over [-bound, bound]: inside it, up to its ends, with its standard deviation."""
    drawn = parameter.detach()
    for part in torch.view_as_real(drawn).unbind(-1) if drawn.is_complex() else [drawn]:
        assert part.abs().max() <= bound * (1 + 1e-6)
        assert part.std() == pytest.approx(bound / math.sqrt(3), rel=within)
        assert abs(part.mean()) < 0.1 * bound


@pytest.mark.parametrize(
    "name, arguments, in_dim, first_bias",
    [
        ("finer", {}, 2, 1 / math.sqrt(2)),
        ("finer", {}, 1, 1.0),
        ("finer", {"bias_range": 3.0}, 3, 3.0),
        ("finer++", {}, 1, 5.0),
        ("finer++", {}, 3, 5.0),
        ("finer++", {"bias_range": 0.2}, 3, 0.2),
    ],
)
def test_finer_starts_as_siren_but_for_the_first_bias(name, arguments, in_dim, first_bias):
    network = build(name, in_dim, 200, 1000, 3, omega_0=20.0, **arguments)
    first, *rest = linears(network)
    fills(first.weight, 1 / in_dim)
    fills(first.bias, first_bias)
    for layer in rest:
        fills(layer.weight, math.sqrt(6 / 1000) / 20)
        fills(layer.bias, 1 / math.sqrt(1000))


@pytest.mark.parametrize("name", SINES)
def test_the_last_layer_knows_the_hidden_frequency_without_a_hidden_layer(name):
    network = build(name, 2, 200, 1000, 1, omega_0=20.0, first_omega_0=50.0)
    fills(linears(network)[1].weight, math.sqrt(6 / 1000) / 20)
    siren_init_(network, seed=1)
    fills(linears(network)[1].weight, math.sqrt(6 / 1000) / 20)


def test_wire_starts_as_torchs_layers_in_both_parts():
    network = build("wire", 2, 300, 1000, 3)
    first, *rest = linears(network)
    assert not first.weight.is_complex()
    assert first.out_features == 707  # 1000 / sqrt(2)
    fills(first.weight, 1 / math.sqrt(2))
    fills(first.bias, 1 / math.sqrt(2))
    for layer in rest:
        assert layer.weight.dtype == torch.complex64
        fills(layer.weight, 1 / math.sqrt(707))
        fills(layer.bias, 1 / math.sqrt(707))


def test_wire_has_about_as_many_numbers_as_a_real_network():
    def count_numbers(network):
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in network.parameters())

    wire, siren = build("wire", hidden_dim=256), build("siren", hidden_dim=256)
    assert count_numbers(wire) == pytest.approx(count_numbers(siren), rel=0.02)


def test_gauss_starts_as_torchs_layers():
    for layer in linears(build("gauss", 2, 200, 1000, 3)):
        fills(layer.weight, 1 / math.sqrt(layer.in_features))
        fills(layer.bias, 1 / math.sqrt(layer.in_features))


def test_relu_pe_starts_as_glorots():
    for layer in linears(build("relu-pe", 2, 200, 1000, 3)):
        fills(layer.weight, math.sqrt(6 / (layer.in_features + layer.out_features)))
        assert not layer.bias.any()


@pytest.mark.parametrize("arguments, sigma, rows", [({}, 30 / (2 * math.pi), 128), ({"sigma": 2.0}, 2.0, 128)])
def test_the_fourier_frequencies_are_normal(arguments, sigma, rows):
    matrix = build("siren-rff", in_dim=50, **arguments).state_dict()["0.B"]
    assert matrix.shape == (rows, 50)
    assert matrix.std() == pytest.approx(sigma, rel=0.05)
    assert abs(matrix.mean()) < 0.05 * sigma
    assert (matrix.abs() < sigma).float().mean() == pytest.approx(0.683, abs=0.03)


def test_siren_rff_starts_as_a_siren_of_its_features():
    first, *rest = linears(build("siren-rff", 2, 200, 1000, 3, num_features=100, omega_0=20.0))
    fills(first.weight, 1 / 200)
    fills(first.bias, 1 / math.sqrt(200))
    for layer in rest:
        fills(layer.weight, math.sqrt(6 / 1000) / 20)
        fills(layer.bias, 1 / math.sqrt(1000))


@pytest.mark.parametrize(
    "initialise", [siren_init_, lambda net, seed: winner_init_(net, centroid=0.2, dim=2, seed=seed)]
)
def test_siren_rff_is_initialised_as_the_siren_behind_its_features(initialise):
    rff, siren = build("siren-rff", num_features=16, omega_0=20.0), Siren(32, 3, 24, 3, omega_0=20.0)
    features = rff.state_dict()["0.B"].clone()
    initialise(rff, seed=5)
    initialise(siren, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(rff.parameters(), siren.parameters(), strict=True))
    assert torch.equal(rff.state_dict()["0.B"], features)
    assert not any(True for _ in rff[0].parameters())


def test_winner_adds_its_noise_to_siren_rff():
    plain, noisy = build("siren-rff", hidden_dim=256), build("siren-rff", hidden_dim=256)
    siren_init_(plain, seed=3)
    initialization = winner_init_(noisy, centroid=0.2, dim=2, seed=3)
    for index, scale in ((0, initialization.s0), (1, initialization.s1)):
        noise = (linears(noisy)[index].weight - linears(plain)[index].weight).detach()
        assert noise.std() == pytest.approx(scale / 30, rel=0.05)


@pytest.mark.parametrize("name", ["wire", "gauss", "relu-pe"])
def test_winner_refuses_networks_that_are_not_of_sines(name):
    network = build(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match="layers="):
        winner_init_(network, centroid=0.1)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides(name):
    one, same, other = build(name, seed=1), build(name, seed=1), build(name, seed=2)
    assert list(one.state_dict()) == list(same.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    # All but the biases that start at zero.
    differ = [
        not torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    ]
    assert all(differ) if name != "relu-pe" else any(differ)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_is_rebuilt_from_its_state_alone(name):
    torch.manual_seed(1)
    spec = {"name": name, "in_dim": 2, "out_dim": 1, "hidden_dim": 8, "num_layers": 2}
    field = Field("image", spec, Normalization((0.0, 0.0), 1.0), RECORD)
    file = io.BytesIO()
    torch.save(field.state_dict(), file)
    file.seek(0)
    again = Field.from_state_dict(torch.load(file, weights_only=True))
    coords = torch.rand(20, 2)
    assert torch.equal(again(coords), field(coords))


@pytest.mark.parametrize(
    "argument, value, words",
    [
        ("in_dim", 2.5, "in_dim=2.5 must be a whole number"),
        ("hidden_dim", "8", "hidden_dim='8' must be a whole number"),
        ("num_layers", None, "num_layers=None must be a whole number"),
        ("omega_0", "30", "omega_0='30' must be a number"),
        ("first_omega_0", None, "first_omega_0=None must be a number"),
    ],
)
def test_arguments_of_another_type_are_refused_by_name(argument, value, words):
    with pytest.raises(ValueError, match=words):
        Siren(**{"in_dim": 2, "out_dim": 1, argument: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", ["in_dim", "out_dim", "hidden_dim", "num_layers"])
def test_networks_without_size_are_refused(name, size):
    with pytest.raises(ValueError, match=f"^{size}=0 must be at least 1"):
        build(name, **{size: 0})


@pytest.mark.parametrize(
    "name, argument",
    [
        *((name, omega) for name in (*SINES, "wire", "staf") for omega in ("omega_0", "first_omega_0")),
        ("finer", "bias_range"),
        ("finer++", "bias_range"),
        ("wire", "s_0"),
        ("gauss", "a"),
        ("siren-rff", "sigma"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_scales_that_make_no_sense_are_refused(name, argument, value):
    with pytest.raises(ValueError, match=f"^{argument}={value} must be positive and finite"):
        build(name, **{argument: value})


@pytest.mark.parametrize(
    "name, argument", [("relu-pe", "num_frequencies"), ("siren-rff", "num_features"), ("staf", "tau")]
)
def test_encodings_and_sums_of_nothing_are_refused(name, argument):
    with pytest.raises(ValueError, match=f"^{argument}=0 must be at least 1"):
        build(name, **{argument: 0})


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_network_works(name):
    network = build(name, in_dim=1, out_dim=1, hidden_dim=1, num_layers=1)
    assert network(torch.zeros(3, 1)).shape == (3, 1)
    assert all(parameter.numel() for parameter in network.parameters())


@pytest.mark.quality
@pytest.mark.parametrize(
    "name, rate, factor",
    [
        ("siren", 1e-3, 100),
        ("finer", 1e-3, 100),
        ("finer++", 1e-3, 100),
        ("wire", 1e-3, 10),
        ("gauss", 1e-3, 100),
        ("relu-pe", 2e-3, 100),
        ("siren-rff", 1e-3, 100),
        ("h-siren", 1e-3, 100),
        ("staf", 1e-3, 100),
    ],
)
def test_it_fits_a_picture(name, rate, factor):
    axis = torch.linspace(-1, 1, 16)
    coords = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1)
    target = (torch.sin(7 * coords[..., :1]) * torch.cos(9 * coords[..., 1:]) + (coords[..., :1] > 0.2)) / 2
    network = build(name, out_dim=1, hidden_dim=48)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for _ in range(150):
        loss = (network(coords) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < target.var() / factor
