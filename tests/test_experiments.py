"""Experiments from files: what is refused, what is run again, and whether the table says what the runs say."""

import csv
import json
import math
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
import trimesh
import yaml
from PIL import Image
from rich.console import Console

from winner_nerfstudio.cli import experiment as experiment_command
from winner_nerfstudio.experiments import (
    clock,
    fronts,
    interrupted,
    plots,
    progress,
    protocols,
    runs,
    sweeps,
    tables,
)
from winner_nerfstudio.experiments.config import (
    Experiment,
    Target,
    Variant,
    read_experiment,
    replace_baseline,
    resolve_fit,
    select,
)
from winner_nerfstudio.experiments.conversion import ConfigError
from winner_nerfstudio.kinds.audio import AudioKind
from winner_nerfstudio.networks import NETWORKS, count_weights
from winner_nerfstudio.signals.derivatives import differentiate
from winner_nerfstudio.signals.shape import load_shape
from winner_nerfstudio.training.decay import Decay
from winner_nerfstudio.training.options import NetworkOptions
from winner_nerfstudio.training.verdict import POOR_FIT
from winner_nerfstudio.winner import SCALED, weight_scaling

from .conftest import ROOT, call_script

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
CPU = torch.device("cpu")
TINY = {
    "kind": "audio",
    "signals": {"tone": {"data": "tone.wav"}, "two": {"data": "two.wav"}},
    "variants": {
        "SIREN": {"options": {"init": "siren"}},
        "WINNER": {"group": "rule", "options": {"schedule": "reference"}},
        "half": {"group": "rule", "noise_scale": 0.5, "options": {"schedule": "reference"}},
    },
    "steps": 12,
    "learning_rate": 1e-3,
    "decay": {"course": "exponential", "gamma": 0.5, "every": 5},
    "options": {"hidden_dim": 16, "num_layers": 2, "batch_size": 1000, "train_fraction": 0.75},
    "seeds": 2,
    "measure_every": 3,
    "baseline": "SIREN",
    "metrics": ["psnr", "psnr_paper", "best_psnr_paper"],
    "front": {"x": "psnr_held_out", "y": "psnr", "reference": "rule"},
    "small": {"steps": 4, "variants": {"half": None}, "options": {"max_samples": 100}},
}


def written(folder, **changes):
    """The tiny experiment as a file, entries changed by path, ``a__b=value``; ... takes one away."""
    whole = json.loads(json.dumps(TINY))
    for path, value in changes.items():
        *parents, last = path.split("__")
        holder = whole
        for parent in parents:
            holder = holder[parent]
        if value is ...:
            del holder[last]
        else:
            holder[last] = value
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


@pytest.fixture
def folder(tmp_path):
    seconds = np.arange(240) / 8000
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 600 * seconds), 8000)
    soundfile.write(tmp_path / "two.wav", 0.3 * np.sin(2 * np.pi * 90 * seconds) + 0.2 * np.sin(5000 * seconds), 8000)
    return tmp_path


def workspace(folder):
    return runs.Workspace(CPU, folder, folder / "runs" / "tiny")


def planned(experiment, folder, seeds=2):
    return list(runs.plan(experiment, experiment.signals, experiment.variants, seeds, workspace(folder)))


def reproduce(folder, *arguments):
    return call_script("reproduce.py", *arguments, cwd=folder)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"sedes": 3}, "sedes is no key; is seeds meant?"),
        ({"variants__SIREN": {"option": {}}}, "variants.SIREN.option is no key; is options meant?"),
        ({"small__stepss": 3}, "small: stepss is no key; is steps meant?"),
        ({"small": 3}, "small: is missing"),
        ({"small__variants": {"SIRENE": None}}, "small: SIRENE=null takes away what isn't there; is SIREN meant?"),
        ({"kind": "sound"}, "kind='sound' is not one of: sdf, image, audio, volume"),
        ({"kind": ...}, "kind is missing"),
        ({"signals__tone": {}}, "signals.tone.data is missing"),
        ({"signals": {}}, "signals and variants must not be empty"),
        ({"steps": "many"}, "steps='many' must be a whole number"),
        ({"steps": 1.5}, "steps=1.5 must be a whole number"),
        ({"steps": True}, "steps=True must be a whole number"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"learning_rate": [1]}, "learning_rate=[1] must be a number"),
        ({"learning_rate": -1}, "learning_rate=-1.0 must be positive"),
        ({"metrics": "psnr"}, "metrics='psnr' must be a list"),
        ({"metrics": ["pnsr"]}, "metrics: pnsr is no metric of kind 'audio'; is psnr meant?"),
        ({"front__x": "psnr_heldout"}, "front.x: psnr_heldout is no metric of kind 'audio'; is psnr_held_out meant?"),
        ({"front__reference": "rules"}, "front.reference: rules is no group; is rule meant?"),
        ({"baseline": "SIREM"}, "baseline: SIREM is no variant; is SIREN meant?"),
        (
            {"decay__course": "exponental"},
            "decay.course='exponental' must be one of: cosine, constant, exponential; is",
        ),
        ({"decay__gamma": 2.0}, "the exponential course needs gamma=2.0 above 0 and at most 1"),
        ({"decay": {"course": "constant", "gamma": 0.5}}, "gamma and every belong to the exponential course"),
        ({"decay": {"course": "constant", "final": 0.5}}, "final=0.5 must be from 0 to 1, and belongs to the cosine"),
        ({"options__hiden_dim": 3}, "variants.SIREN: hiden_dim is no option for a fit of kind 'audio'; is hidden_dim"),
        ({"options__hidden_dim": "16"}, "hidden_dim='16' must be a whole number"),
        ({"variants__SIREN__options": {"network": "sirene"}}, "network=sirene is not one of: siren"),
        ({"variants__SIREN__options": {"network": "gauss", "network_args": {"s": 3.0}}}, "network gauss has no s; it"),
        ({"variants__SIREN__noise_scale": 2}, "noise_scale multiplies a schedule's noise, and this network has none"),
        ({"snr": 10, "options__noise_std": 0.1}, "snr adds noise to a clean signal; leave it or noise_std out"),
        (
            {"signals": {"a b": {"data": "x"}, "a-b": {"data": "x"}}},
            "signals: a b and a-b would be kept under one name",
        ),
        ({"snr": 10, "options__reference": "x.wav"}, "snr adds noise to a clean signal; leave it or reference out"),
        ({"options__parts": "auto"}, "parts=auto: an experiment fits one network unless parts says how many; give a n"),
        ({"options__steps": 100}, "variants.SIREN: steps stands beside options, not among them"),
        ({"options__device": "cpu"}, "variants.SIREN: device is no option for a fit of kind 'audio'"),
        ({"options__parts": "avto"}, "parts='avto' must be a list, or one of: auto; is auto meant?"),
        (
            {"options__nodata": [0, "a"]},
            "nodata=[0, 'a'] must be a number, or nodata[1]='a' must be a number, or one of: ",
        ),
        ({"options__hidden_dim": 16.5}, "hidden_dim=16.5 must be a whole number"),
        ({"options__mono": "no"}, "mono='no' must be true or false"),
        (
            {"options__train_fraction": ...},
            "front.x: psnr_held_out is no metric of kind 'audio' without train_fraction",
        ),
        ({"variants__SIREN__options": {"start": 1.0}}, "variants.SIREN: start is an option of the data"),
        ({"signals": {"SIREN": {"data": "x"}}}, "signals: SIREN is the name of a variant as well"),
        ({"signals": {"mean": {"data": "x"}}}, "signals: mean is the name of their mean as well"),
        ({"signals": {3: {"data": "x"}}}, "signals=3 must be named by a text"),
        ({"seconds": 3}, "steps doesn't go with seconds, which limits runs by time; leave one out"),
        (
            {"seconds": 3, "steps": ..., "measure_every": ..., "variants__SIREN__steps": 5},
            "variants.SIREN.steps doesn't go with seconds",
        ),
        ({"seconds": 0, "steps": ..., "measure_every": ...}, "seconds=0.0 must be positive and finite"),
        ({"seconds": 3, "steps": ..., "measure_every": ...}, "the exponential course counts steps"),
        ({"relative": ["pnsr"]}, "relative: pnsr is no metric of kind 'audio'; is psnr meant?"),
        ({"best": ["pnsr"]}, "best: pnsr is no metric of kind 'audio'; is psnr meant?"),
        ({"variants__SIREN__optimizer": "sgd"}, "optimizer='sgd' is not one of: adam, soap, muon"),
        ({"snr": math.nan}, "snr=nan must be finite (dB)"),
        ({"signals__tone__snr": math.inf}, "signals.tone.snr=inf must be finite (dB)"),
        ({"variants__a|b": {"options": {}}}, "variants: 'a|b' cannot stand in a table"),
        ({"variants__": {"options": {}}}, "variants: '' cannot stand in a table"),
        ({"relative": ["psnr"]}, "relative: psnr is no error, and a part of it says nothing"),
        ({"relative": ["psnr"], "baseline": ...}, "relative compares with the baseline, and there is none"),
        ({"sweep": ["psnr"], "options__hidden_dim": 16}, "sweep: goes over the layers' widths, and variants.SIREN has"),
        (
            {"signals__tone__snr": 10, "options__noise_std": 0.1},
            "snr adds noise to a clean signal; leave it or noise_std out",
        ),
    ],
)
def test_what_wont_do_is_one_line_with_the_nearest_name(changes, words, tmp_path):
    # A key of YAML that isn't a text doesn't survive JSON.
    path = written(tmp_path, **{key: value for key, value in changes.items() if value != {3: {"data": "x"}}})
    if any(value == {3: {"data": "x"}} for value in changes.values()):
        path.write_text(path.read_text().replace("tone:", "3:"))
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        read_experiment(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_name_that_stands_twice_is_refused(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text().replace("  WINNER:", "  SIREN:"))
    with pytest.raises(ConfigError, match="SIREN stands twice"):
        read_experiment(path)


def test_a_file_that_is_none_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        read_experiment(tmp_path / "nowhere.yaml")
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"a\.yaml: cannot be read as YAML"):
        read_experiment(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("- a")
    with pytest.raises(ConfigError, match="holds no mapping"):
        read_experiment(tmp_path / "a.yaml")


def test_small_is_the_whole_with_what_it_says(tmp_path):
    path = written(tmp_path)
    whole, small = read_experiment(path), read_experiment(path, small=True)
    assert (whole.steps, small.steps) == (12, 4)
    assert list(small.variants) == ["SIREN", "WINNER"]
    assert small.options == {**whole.options, "max_samples": 100}
    assert small.signals == whole.signals
    with pytest.raises(ConfigError, match="small: is missing"):
        read_experiment(written(tmp_path, small=...), small=True)


def test_the_variants_word_counts_before_the_signals_and_the_experiments():
    experiment = Experiment(
        "audio", {}, {}, options={"hidden_dim": 1, "start": 1.0, "s0": 1.0}, steps=10, learning_rate=0.1
    )
    fit = resolve_fit(experiment, Target("x", {"start": 2.0, "s0": 2.0}), Variant({"s0": 3.0}, steps=500))
    assert fit.options == {"hidden_dim": 1, "start": 2.0, "s0": 3.0}
    assert (fit.steps, fit.learning_rate, fit.measure_every) == (500, 0.1, 5)
    own = resolve_fit(Experiment("sdf", {}, {}), Target("x"), Variant())
    assert (own.steps, own.learning_rate, own.decay) == (2500, 5e-4, Decay("cosine"))


@pytest.mark.parametrize(
    "option, value, meant",
    [
        ("parts", 1, (1,)),
        ("nodata", "keep", "keep"),
        ("nodata", [-1, 255], (-1, 255)),
        ("exactness", "5e-1", 0.5),
        ("spacing", [1, 2.5], (1, 2.5)),
    ],
)
def test_options_have_the_types_that_a_command_line_gives_them(option, value, meant):
    # YAML reads 5e-1 as a text.
    fit = resolve_fit(Experiment("image", {}, {}, options={option: value}), Target("x"), Variant())
    assert fit.options[option] == meant


def test_a_reference_stands_in_the_folder_and_its_contents_tell_runs_apart(folder):
    one = read_experiment(written(folder, signals__tone__options={"reference": "two.wav"}))
    run = planned(one, folder)[0]
    assert run.target.clean is not None
    runs.perform(run, CPU, lambda part: None)
    assert planned(one, folder)[0].record() is not None
    soundfile.write(folder / "two.wav", np.zeros(240), 8000)
    assert planned(one, folder)[0].record() is None
    (folder / "two.wav").unlink()
    with pytest.raises(ConfigError, match=r"two\.wav: no such file; name the folder that has it with --folder"):
        planned(one, folder)


def test_runs_whose_missing_samples_are_nan_are_found_again(folder):
    one = read_experiment(written(folder, options__nodata=float("nan")))
    run = planned(one, folder)[0]
    runs.perform(run, CPU, lambda part: None)
    assert planned(one, folder)[0].record() is not None


def test_names_choose_signals_and_variants(tmp_path):
    experiment = read_experiment(written(tmp_path))
    assert [list(each) for each in select(experiment, ("two",))] == [["two"], ["SIREN", "WINNER", "half"]]
    assert [list(each) for each in select(experiment, ("half", "tone"))] == [["tone"], ["half"]]
    with pytest.raises(ConfigError, match=r"tow is neither a signal nor a variant; is two meant\?"):
        select(experiment, ("tow",))


def test_another_baseline_may_be_named(tmp_path):
    experiment = read_experiment(written(tmp_path))
    assert replace_baseline(experiment, None) == experiment
    assert tables.reach_column(replace_baseline(experiment, "half")) == "steps to half's final"
    with pytest.raises(ConfigError, match=r"baseline: WINER is no variant; is WINNER meant\?"):
        replace_baseline(experiment, "WINER")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_sound_without_its_data(path):
    whole, small = read_experiment(path), read_experiment(path, small=True)
    assert all(experiment.baseline in experiment.variants for experiment in (whole, small))
    assert small.seeds <= whole.seeds


def test_there_are_the_papers_experiments():
    names = {path.stem for path in CONFIGS}
    assert {"audio", "image", "audio_denoising", "image_denoising", "shapes", "bottleneck"} <= names
    audio = read_experiment(ROOT / "configs" / "audio.yaml")
    assert (audio.steps, audio.learning_rate, audio.decay) == (1000, 1e-4, Decay("exponential", 0.99, 20))
    assert audio.options == {
        "hidden_dim": 222,
        "num_layers": 4,
        "batch_size": 1_000_000,
        "max_samples": 150_000,
        "mono": True,
    }
    networks = {variant.options.get("network", "siren") for variant in audio.variants.values()}
    assert networks == {"siren", "finer", "finer++", "wire", "gauss", "relu-pe", "siren-rff"}


@pytest.mark.parametrize(
    "decay, step, factor",
    [
        (Decay(), 0, 1.0),
        (Decay(), 50, 0.51),
        (Decay(), 100, 0.02),
        (Decay(final=0.001), 100, 0.001),
        (Decay("constant"), 99, 1.0),
        (Decay("exponential", 0.99, 20), 19, 1.0),
        (Decay("exponential", 0.99, 20), 20, 0.99),
        (Decay("exponential", 0.99, 20), 100, 0.95099005),
        (Decay("exponential", 0.998, 20), 99, 0.992023968),
    ],
)
def test_the_learning_rates_course(decay, step, factor):
    assert decay.factor(100)(step) == pytest.approx(factor, rel=1e-9)


def test_a_courses_problem_is_told():
    for decay in (Decay("exponential"), Decay("exponential", 0.9), Decay("exponential", 0.9, 0), Decay("linear")):
        with pytest.raises(ValueError, match="course"):
            decay.check()
        with pytest.raises(ValueError, match="course"):
            decay.factor(3)


def test_a_run_is_adam_by_hand(folder):
    """Ten full-batch steps, taken here with torch alone, give the curve's values."""
    experiment = read_experiment(written(folder, options__train_fraction=..., front=...))
    run = planned(experiment, folder)[0]
    record = runs.perform(run, CPU, lambda part: None)
    from winner_nerfstudio import Siren, siren_init_

    network = Siren(1, 1, 16, 2)
    siren_init_(network, seed=1)
    sound = torch.from_numpy(soundfile.read(folder / "tone.wav", dtype="float32")[0])[:, None]
    sound /= sound.abs().max()
    coords = torch.linspace(-1, 1, 240)[:, None]
    psnr = {}
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(13):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5 ** (step // 5)
        loss = (network(coords) - sound).square().mean()
        psnr[step] = -10 * math.log10(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert [point["step"] for point in record["curve"]] == [0, 3, 6, 9, 12]
    for point in record["curve"]:
        assert point["psnr"] - 20 * math.log10(2) == pytest.approx(psnr[point["step"]], abs=1e-3)
    # The best is over every step, not only over those of the curve.
    top = max(psnr, key=psnr.get)
    assert record["metrics"]["best_psnr_paper"] == pytest.approx(psnr[top], abs=1e-3)
    assert record["metrics"]["best_psnr_step"] == top
    assert record["metrics"]["psnr_paper"] == pytest.approx(psnr[12], abs=1e-3)
    seconds = [point["seconds"] for point in record["curve"]]
    assert seconds == sorted(seconds)
    assert seconds[-1] == record["seconds"] < record["wall"]


def test_runs_of_equal_time_stop_when_it_is_up_and_their_rate_falls_with_it(folder):
    changes = {"seconds": 1, "steps": ..., "measure_every": ..., "decay": ..., "small": ...}
    experiment = read_experiment(written(folder, **changes))
    run = planned(experiment, folder)[0]
    assert run.work == 1
    parts = []
    begin = time.process_time()
    record = runs.perform(run, CPU, parts.append)
    assert time.process_time() - begin >= 1
    assert parts == sorted(parts)
    assert parts[-1] == 1 > parts[0]
    assert [point["step"] for point in record["curve"]] == [0, record["metrics"]["steps"]] == [0, len(parts)]
    rows = tables.make_rows(experiment, {("tone", "SIREN"): [record]})
    assert f"| {len(parts)} | " in tables.format_markdown(rows, 2)
    timer = clock.Clock(run.fit)
    assert timer.decay(10**6) == 1, "before anything has been trained"
    with timer.running():
        while timer.part(1) < 0.5:
            pass
        assert timer.decay(1) == pytest.approx(0.51, abs=0.05)
    assert timer.part(1) < 0.6
    assert timer.seconds >= 0.08


def test_variants_may_draw_their_points_differently_but_not_fit_another_signal(folder):
    variants = {"close": {"options": {"near_sigmas": [0.01]}}, "far": {"options": {"near_sigmas": [0.1]}}}
    changes = {"kind": "sdf", "variants": variants, "baseline": "close", "signals": {"cog": {"data": "sample:cog"}}}
    options = {"hidden_dim": 16, "num_layers": 2}
    path = written(folder, **changes, options=options, metrics=..., front=..., small=...)
    close, far = planned(read_experiment(path), folder, seeds=1)
    assert (close.target.mix.near_sigmas, far.target.mix.near_sigmas) == ((0.01,), (0.1,))
    variants["far"]["options"] = {"sign": "winding"}
    with pytest.raises(ConfigError, match=r"variants\.far: sign is an option of the data; all variants have the same"):
        read_experiment(written(folder, **changes, options=options, metrics=..., front=..., small=...))


def write_shapes(folder, variant, **changes):
    """An experiment that fits sample:cog by one variant, as a file."""
    whole = {
        "kind": "sdf",
        "signals": {"cog": {"data": "sample:cog"}},
        "variants": {"theirs": variant},
        "seconds": 0.3,
        "options": {"hidden_dim": 16, "num_layers": 2, "batch_size": 64, "steps_per_chunk": 4, "eval_resolution": 16},
    }
    path = folder / "shapes.yaml"
    path.write_text(yaml.safe_dump(whole | changes))
    return path


def test_bacon_draws_half_its_points_close_and_half_far_and_sums_their_weighted_squares():
    cog = load_shape("sample:cog")
    drawn = protocols.BaconPoints(cog).draw(np.random.default_rng(0), 4000)
    fine = drawn["weights"][:, 0] == 1
    assert fine.sum() == 2000
    assert drawn["weights"][~fine] == pytest.approx(0.01)
    assert np.abs(drawn["coords"]).max() <= 1, "what leaves the cube comes back on its other side"
    assert drawn["values"][:, 0] == pytest.approx(cog.signed_distance(drawn["coords"].astype(float)), abs=1e-6)
    # Most of the surface is flat, and across it the offset is Laplace's, whose mean size is its scale.
    assert np.abs(drawn["values"][fine]).mean() == pytest.approx(0.002, rel=0.1)
    assert np.abs(drawn["values"][~fine]).mean() > 0.05
    batch = {"values": torch.tensor([[1.0], [0.0]]), "weights": torch.tensor([[0.01], [1.0]])}
    terms = protocols.WeightedSquares().terms({"values": torch.tensor([[3.0], [0.5]])}, batch)
    assert terms["squares"].item() == pytest.approx(0.01 * 4 + 0.25)


def test_the_optimizer_of_bacon_shortens_long_gradients_and_never_forgets_their_size():
    weight = torch.zeros(2, requires_grad=True)
    optimizer = protocols.ClippedAdam([weight], 0.1)
    weight.grad = torch.tensor([30.0, 40.0])
    optimizer.step()
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8])
    weight.grad = torch.zeros(2)
    optimizer.step()
    assert optimizer.state[weight]["max_exp_avg_sq"].tolist() == pytest.approx([0.001 * 0.6**2, 0.001 * 0.8**2])


def test_a_variant_may_train_by_the_protocol_of_a_paper(folder):
    run = planned(read_experiment(write_shapes(folder, {"protocol": "bacon"})), folder, seeds=1)[0]
    assert run.specification["protocol"] == "bacon"
    _, training, timer = runs._prepare(run, CPU)
    assert isinstance(training._optimizer, protocols.ClippedAdam)
    assert timer.seconds > 0, "the start and the first points count where time is limited"
    first = training._members[0].sampler.batch(0)
    assert set(first) == {"coords", "values", "weights"}
    before = training.field(first["coords"])
    training.step()
    assert training.loss.item() == pytest.approx((first["weights"] * (before - first["values"]) ** 2).sum().item())


@pytest.mark.parametrize(
    "variant, words",
    [
        ({"protocol": "bacn"}, "protocol='bacn' is none of: bacon"),
        ({"protocol": "bacon", "optimizer": "muon"}, "protocol bacon has an optimiser of its own; leave muon out"),
        ({"protocol": "bacon", "options": {"parts": [3]}}, "protocol bacon trains a single network; give parts: [1]"),
    ],
)
def test_a_protocol_that_cannot_be_followed_is_refused(folder, variant, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_experiment(write_shapes(folder, variant))


def test_a_protocol_for_surfaces_is_refused_for_sounds(folder):
    with pytest.raises(ConfigError, match=r"protocol bacon draws points near a surface; kind 'audio' has none"):
        read_experiment(written(folder, variants__SIREN__protocol="bacon"))


def test_the_best_of_losses_is_that_of_the_least():
    best = runs.find_best_loss([4.0, math.nan, 0.04, 1.0], {"best_psnr": 3.0})
    assert best == pytest.approx({"best_psnr": 20.0, "best_psnr_step": 2, "best_psnr_paper": 20 - 20 * math.log10(2)})
    assert runs.find_best_loss([4.0, 0.04], {"best_psnr": 30.0}) == {}
    assert runs.find_best_loss([math.nan], {}) == {}


def test_noise_of_so_many_decibels_and_scaled_scales(folder):
    experiment = read_experiment(written(folder, snr=10, options__train_fraction=..., front=...))
    siren, winner, half = planned(experiment, folder, seeds=1)[:3]
    noise = siren.target.values - siren.target.clean
    power = siren.target.clean.var() / noise.var()
    assert 10 * math.log10(power) == pytest.approx(10, abs=0.5)  # of 240 samples
    assert siren.specification["noise"] is None
    whole, less = winner.specification["noise"], half.specification["noise"]
    assert whole["s0"] > 100
    assert (less["s0"], less["s1"]) == pytest.approx((whole["s0"] / 2, whole["s1"] / 2))
    assert half.options.network.noise.s0 == pytest.approx(less["s0"])


def test_a_sweep_goes_over_the_weights_per_sample_for_each_level_of_noise(folder):
    levels = {"signals__tone__snr": 20, "signals__two__snr": 5}
    widths = {"widths": [8, 16], "variants": {"SIREN": {"options": {"init": "siren"}}}, "baseline": "SIREN, 8"}
    path = written(folder, **levels, **widths, sweep=["psnr", "stopped_psnr"], front=..., small=...)
    experiment = read_experiment(path)
    assert list(experiment.variants) == ["SIREN, 8", "SIREN, 16"]
    done = [(run, runs.perform(run, CPU, lambda part: None)) for run in planned(experiment, folder, seeds=1)]
    found = sweeps.find_sweeps(experiment, tables.group_records(done))
    assert list(found) == [20, 5]
    narrow, wide = found[5]["SIREN"]
    # 180 of 240 samples are fitted; two layers of 8: 16 + 72 + 9 weights.
    assert (narrow.width, narrow.weights) == (8, pytest.approx((16 + 72 + 9) / 180))
    assert wide.weights == pytest.approx((32 + 272 + 17) / 180)
    metrics = done[2][1]["metrics"]
    assert narrow.values == (metrics["psnr"], metrics["stopped_psnr"])
    assert f"| SIREN | {narrow.values[0]:.2f} / {narrow.values[1]:.2f} | " in sweeps.format_sweeps(experiment, found)
    assert plots.draw_sweeps(experiment, found, folder).is_file()


def test_a_run_is_stopped_where_its_error_is_the_noise_or_where_held_out_samples_are_fitted_best():
    held_out = (9.0, 12.0, 11.0, 10.0)
    curve = [
        {"step": step, "psnr": 20.0 + step, "psnr_noisy": 10.0 + step, "psnr_held_out_noisy": value}
        for step, value in enumerate(held_out)
    ]
    best = {"held_out_stopped_psnr": 21.0, "held_out_stopped_step": 1}
    assert runs.find_stopped(curve, 11.5) == {"stopped_psnr": 22.0, "stopped_step": 2, **best}
    assert runs.find_stopped(curve, 99) == {"stopped_psnr": 23.0, "stopped_step": 3, **best}
    assert runs.find_stopped([{"step": 0, "psnr": 3.0, "psnr_noisy": 2.0}], 1) == {"stopped_psnr": 3, "stopped_step": 0}


def test_noise_times_one_is_the_schedules_own_start(folder):
    variants = {"a": {"options": {"first_omega_0": 3.0}}, "b": {"noise_scale": 1, "options": {"first_omega_0": 3.0}}}
    experiment = read_experiment(written(folder, variants=variants, baseline="a", front=..., small=...))
    own, scaled = planned(experiment, folder, seeds=1)[:2]
    assert own.specification["noise"]["s0"] > 0
    assert own.specification["noise"]["hidden_biases"] == 0
    starts = [runs.perform(run, CPU, lambda part: None)["curve"][0] for run in (own, scaled)]
    assert starts[0]["psnr"] == pytest.approx(starts[1]["psnr"], abs=1e-5)


def test_noise_of_its_own_for_each_axis_has_no_one_scale_to_multiply(folder):
    np.save(folder / "a.npy", np.sin(np.arange(30))[:, None] * np.sin(2.5 * np.arange(40)))
    variants = {"a": {"noise_scale": 0.5}}
    changes = {"kind": "image", "signals": {"grid": {"data": "a.npy"}}, "variants": variants, "baseline": "a"}
    experiment = read_experiment(written(folder, **changes, front=..., small=...))
    with pytest.raises(ConfigError, match="noise_scale: matched has noise of its own for each axis of"):
        planned(experiment, folder)


def test_a_run_that_is_there_is_not_made_again_unless_its_specification_is_another(folder):
    experiment = read_experiment(written(folder))
    made = planned(experiment, folder)
    assert len(made) == 2 * 3 * 2
    assert {run.record() for run in made} == {None}
    for run in made[:3]:
        runs.perform(run, CPU, lambda part: None)
    again = planned(experiment, folder)
    assert [run.record() is not None for run in again] == [True] * 3 + [False] * 9
    assert again[0].record()["specification"] == made[0].specification
    for changes in ({"steps": 13}, {"learning_rate": 2e-3}, {"options__hidden_dim": 17}, {"decay__gamma": 0.6}):
        others = planned(read_experiment(written(folder, **changes)), folder)
        assert not any(run.record() for run in others), changes
    # Another variant's change leaves the others as they are; other data does not.
    others = planned(read_experiment(written(folder, variants__half__noise_scale=0.25)), folder)
    assert [run.record() is not None for run in others[:4]] == [True, True, True, False]
    soundfile.write(folder / "tone.wav", np.sin(np.arange(240.0)), 8000)
    assert not any(run.record() for run in planned(experiment, folder))
    # What was made before is still there.
    runs.perform(planned(experiment, folder)[0], CPU, lambda part: None)
    assert made[0].record() is not None


@dataclass
class Faster(NetworkOptions):
    """Another default."""

    omega_0: float | None = 31.0


def test_what_a_fit_takes_by_default_is_part_of_its_specification(folder, monkeypatch):
    experiment = read_experiment(written(folder))
    before = planned(experiment, folder)[0]
    monkeypatch.setattr(AudioKind, "network", Faster)
    assert planned(experiment, folder)[0].path != before.path


def test_another_rule_of_initialisation_or_default_of_a_network_makes_another_run(folder, monkeypatch):
    variants = {"scaled": {"init": "weight-scaling"}, "wire": {"network": "wire"}}
    changes = {f"variants__{name}": {"options": options} for name, options in variants.items()}
    experiment = read_experiment(written(folder, **changes))
    before = {run.variant: run.path for run in planned(experiment, folder) if run.seed == 1}
    monkeypatch.setitem(SCALED, "weight-scaling", lambda axes, traits: weight_scaling(2.6))
    monkeypatch.setitem(NETWORKS, "wire", partial(NETWORKS["wire"], omega_0=21.0))
    after = {run.variant: run.path for run in planned(experiment, folder) if run.seed == 1}
    assert {name for name, path in before.items() if after[name] != path} == {"scaled", "wire"}


def test_complex_weights_count_as_two_numbers():
    assert count_weights([torch.zeros(3, 4), torch.zeros(5, dtype=torch.complex64)]) == 22


def test_a_variant_of_which_a_seed_diverged_is_not_the_best_of_its_group():
    found = {"a 1": (60.0, math.nan), "a 2": (50.0, 50.0), "a 3": (40.0, 44.0)}
    records = {
        ("s", name): [{"metrics": {} if math.isnan(value) else {"psnr": value}} for value in values]
        for name, values in found.items()
    }
    experiment = Experiment("audio", {}, {name: Variant(group="a") for name in found}, digits=1, best=("psnr",))
    assert "| a | 50.0 (2) |" in tables.format_best(experiment, records)
    assert math.isnan(tables.mean_of_all(records["s", "a 1"], "psnr"))
    relative = replace(experiment, baseline="a 2", relative=("psnr",))
    assert "| a 1 |  |" in tables.format_relative(relative, records)


def test_runs_of_another_version_are_told(folder, capsys):
    path = written(folder)
    for run in planned(read_experiment(path), folder)[:1]:
        runs.perform(run, CPU, lambda part: None)
        run.path.write_text(run.path.read_text().replace(runs.PROGRAM, "winner-nerfstudio 0.0.9"))
    arguments = experiment_command.Arguments(config=path, folder=folder, runs=folder / "runs", report_only=True)
    experiment_command.run_experiment(arguments, Console())
    assert (
        f"note: some kept runs were made by winner-nerfstudio 0.0.9; this is {runs.PROGRAM}" in capsys.readouterr().out
    )


def test_a_run_that_is_cut_off_leaves_nothing(folder):
    run = planned(read_experiment(written(folder)), folder)[0]

    def cut(part):
        if part > 5 / 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.perform(run, CPU, cut)
    assert run.record() is None
    assert not list((folder / "runs").rglob("*.*"))
    # Nor does one that was cut off while it was written count.
    runs.perform(run, CPU, lambda part: None)
    whole = run.path.read_text()
    run.path.write_text(whole[: len(whole) // 2])
    assert run.record() is None
    run.path.write_text(whole)
    assert run.record() is not None
    run.values_path.unlink()
    assert run.record() is None
    for other in ("{}", "[]", "3"):
        run.path.write_text(other)
        assert run.record() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"measure_every": ...},
        {"options__batch_size": 50, "variants__SIREN__optimizer": "muon"},
        {"options__parts": [2], "options__train_fraction": ..., "front": ...},
    ],
)
def test_a_stopped_run_goes_on_to_the_same_end(changes, folder, monkeypatch):
    experiment = read_experiment(written(folder, **changes))
    run = planned(experiment, folder)[0]
    whole = runs.perform(run, CPU, lambda part: None)
    run.path.unlink()
    monkeypatch.setattr(interrupted, "INTERVAL", 0.0)

    def cut(part):
        if part > 5 / 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.perform(run, CPU, cut)
    assert set(run.path.parent.iterdir()) == {run.values_path, run.state_path}
    state = run.state_path.read_bytes()
    parts = []
    again = runs.perform(run, CPU, parts.append)
    assert parts[0] > 6 / 12, "what was done before is not done again"
    for name in ("metrics", "specification"):
        assert again[name] == whole[name]
    for one, other in zip(again["curve"], whole["curve"], strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    assert not run.state_path.exists()
    # The state of another run, or one that was cut off, is not gone on from.
    other = planned(experiment, folder)[1]
    for content in (state, state[: len(state) // 2]):
        other.state_path.write_bytes(content)
        parts = []
        assert runs.perform(other, CPU, parts.append) != again
        assert parts[0] < 5 / 12


def test_curves_of_derivatives_are_those_of_the_derivatives(folder, capsys):
    np.save(folder / "hill.npy", differentiate(np.cos(np.arange(12) / 3)[:, None] * np.ones(10), "gradient"))
    hill = {"kind": "image", "signals": {"hill": {"data": "hill.npy", "options": {"supervise": "gradient"}}}}
    hill |= {"options": {"hidden_dim": 8}, "metrics": ["snr_derivatives"], "front": ..., "small": ...}
    experiment = read_experiment(written(folder, **hill, variants={"SIREN": {"options": {"init": "siren"}}}))
    pending, done = planned(experiment, folder), []
    experiment_command.make_runs(experiment, pending, done, CPU, Console())
    assert "SIREN, seed 1: snr_derivatives " in capsys.readouterr().out
    # The loss is relative to the derivatives, and no mean square error of values.
    assert not any(name.startswith("best_psnr") for _, record in done for name in record["metrics"])
    name = tables.find_curve(experiment, [record for _, record in done])
    assert name == "snr_derivatives"
    assert tables.average_curves([record for _, record in done], name)[-1]["step"] == 12
    row = tables.make_rows(experiment, {("hill", "SIREN"): [record for _, record in done]})[0]
    assert row["steps to SIREN's final"].mean == pytest.approx(12)


@pytest.mark.parametrize("value, words", [(math.inf, "exact"), (math.nan, "diverged"), (-math.inf, "diverged")])
def test_an_exact_fit_is_told_from_one_that_diverged(value, words, folder, capsys, monkeypatch):
    names = ("psnr", "psnr_paper")
    monkeypatch.setattr(AudioKind, "metrics", lambda *arguments: dict.fromkeys(names, value))
    experiment, done = read_experiment(written(folder)), []
    experiment_command.make_runs(experiment, planned(experiment, folder)[:1], done, CPU, Console())
    assert f"SIREN, seed 1: {words}, " in capsys.readouterr().out
    kept = json.loads(done[0][0].path.read_text())
    assert not set(names) & set(kept["metrics"])
    assert kept["exact"] == (list(names) if words == "exact" else [])


def test_an_experiment_that_is_interrupted_ends_as_every_command_does(folder, monkeypatch, capsys):
    def interrupt(arguments, console):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment_command, "run_experiment", interrupt)
    monkeypatch.setattr("sys.argv", ["reproduce.py", str(written(folder))])
    monkeypatch.setattr("signal.signal", lambda *arguments: None)  # the command sets some
    with pytest.raises(SystemExit) as stopped:
        experiment_command.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted; finished runs are kept")


def test_the_loss_of_overlapping_parts_is_no_psnr_of_the_whole(folder):
    for parts, learns in ((1, True), (2, False)):
        changes = {"options__parts": parts, "options__train_fraction": ..., "front": ...}
        run = planned(read_experiment(written(folder, **changes)), folder)[0]
        assert runs._learns_from_all_samples(run) is learns


def test_a_run_of_another_device_is_told_but_not_taken_for_this_ones(folder, monkeypatch):
    here = planned(read_experiment(written(folder)), folder)[0]
    experiment = read_experiment(written(folder))
    arguments = (experiment, experiment.signals, experiment.variants, 1)
    there = next(runs.plan(*arguments, workspace(folder)._replace(device=torch.device("cuda"))))
    assert (here.specification["device"], there.specification["device"]) == ("cpu", "cuda")
    runs.perform(here, CPU, lambda part: None)
    assert there.record() is None
    assert there.on_any_device().path == here.on_any_device().path == here.path


def test_a_shape_is_another_one_where_a_file_that_it_names_has_changed(tmp_path):
    files = trimesh.creation.icosphere(subdivisions=1).export(file_type="gltf")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    shape = load_shape(tmp_path / "model.gltf")
    digests = [runs.hash_data(shape, str(tmp_path / "model.gltf"))]
    for name in files:
        with (tmp_path / name).open("ab") as file:
            file.write(b" ")
        digests.append(runs.hash_data(shape, str(tmp_path / "model.gltf")))
    assert len(set(digests)) == 1 + len(files) >= 3


@pytest.mark.commands
def test_one_command_runs_tells_and_goes_on(folder):
    """All of it, twice; the table's numbers are those of the runs' own curves."""
    path = written(folder)
    done = reproduce(folder, path, "--runs", "kept", "--device", "cpu", "--folder", folder)
    assert done.returncode == 0, done.stderr
    assert "run 12 of 12: two, half, seed 2: psnr_paper" in done.stdout
    results = folder / "kept" / "tiny" / "results"
    assert {each.name for each in results.iterdir()} == {
        "table.csv",
        "table.md",
        "front.png",
        *(f"{signal}-{plot}.png" for signal in ("tone", "two") for plot in ("curves", "spectrum", "fits")),
    }
    kept = {path: path.stat().st_mtime_ns for path in (folder / "kept").rglob("seed-*.*")}
    assert len(kept) == 12 + 6
    rows = list(csv.DictReader((results / "table.csv").open()))
    assert [(row["signal"], row["variant"]) for row in rows[:2]] == [("tone", "SIREN"), ("tone", "WINNER")]
    assert [row["signal"] for row in rows[6:]] == ["mean"] * 3
    for row in rows[:6]:
        records = [
            json.loads(path.read_text())
            for path in sorted((folder / "kept" / "tiny" / row["signal"] / row["variant"]).glob("seed-*.json"))
        ]
        last = [record["curve"][-1] for record in records]
        assert float(row["psnr"]) == pytest.approx(np.mean([point["psnr"] for point in last]), abs=1e-3)
        assert float(row["psnr std"]) == pytest.approx(np.std([point["psnr"] for point in last], ddof=1), abs=1e-3)
        assert float(row["psnr_paper"]) == pytest.approx(float(row["psnr"]) - 6.0206, abs=1e-3)
        held_out = np.mean([point["psnr_held_out"] for point in last])
        assert float(row["psnr_held_out"]) == pytest.approx(held_out, abs=1e-3)
    mean = np.mean([float(row["psnr"]) for row in rows[:6] if row["variant"] == "WINNER"])
    assert float(rows[7]["psnr"]) == pytest.approx(mean)
    again = reproduce(folder, path, "--runs", "kept", "--device", "cpu", "--folder", folder, "--only", "tone")
    assert again.returncode == 0, again.stderr
    assert "run " not in again.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    first = (results / "table.csv").read_text().splitlines()[:4]
    assert (folder / "kept" / "tiny" / "results-tone" / "table.csv").read_text().splitlines() == first


@pytest.mark.commands
def test_a_users_mistake_is_one_line(folder):
    done = reproduce(folder, written(folder), "--folder", "elsewhere", "--device", "cpu")
    assert done.returncode == 1
    assert done.stderr.startswith("error: elsewhere/tone.wav: no such file; name the folder that has it with --folder")
    assert done.stderr.count("\n") == 1


def record(psnr, **metrics):
    curve = [{"step": 10 * i, "seconds": float(i), "psnr": value} for i, value in enumerate(psnr)]
    return {"curve": curve, "metrics": {"psnr": psnr[-1], **metrics}, "seconds": 3.0}


def test_the_step_at_which_the_baselines_last_value_is_reached():
    records = {
        ("s", "slow"): [record([10.0, 20.0, 30.0]), record([10.0, 22.0, 34.0])],
        ("s", "fast"): [record([10.0, 40.0, 35.0]), record([10.0, 26.0, 35.0])],
        ("s", "never"): [record([10.0, 11.0, 12.0]), record([10.0, 11.0, 31.0])],
    }
    assert tables.baseline_level(records, "s", "slow", "psnr") == pytest.approx(32 - 6.0206, abs=1e-4)
    experiment = Experiment("audio", {}, {}, baseline="slow", metrics=("psnr",))
    rows = {row["variant"]: row for row in tables.make_rows(experiment, records)}
    assert rows["slow"]["steps to slow's final"].mean == 20
    assert rows["fast"][tables.reach_column(experiment)].mean == 10
    assert rows["never"][tables.reach_column(experiment)].count == 0
    assert (rows["slow"]["psnr"].mean, rows["slow"]["psnr"].spread) == pytest.approx((32, 8**0.5))


def test_a_seed_that_diverged_is_told():
    lost = record([10.0, None, None])
    lost["metrics"] = {}
    records = {("s", "a"): [record([10.0, 20.0, 30.0]), record([10.0, 20.0, 32.0]), lost], ("s", "b"): [lost]}
    experiment = Experiment("audio", {}, {}, baseline="a", metrics=("psnr",))
    rows = tables.make_rows(experiment, records)
    assert "| s | a | 3 | 31.00 ± 1.4 (2 of 3) |" in tables.format_markdown(rows, 2)
    assert "| s | b | 1 |  |" in tables.format_markdown(rows, 2)
    assert tables.format_csv(rows).splitlines()[2].startswith("s,b,1,,,")
    # Where the baseline hasn't ended there is no value to reach.
    assert math.isnan(tables.baseline_level(records, "s", "a", "psnr"))
    assert {row[tables.reach_column(experiment)].count for row in rows} == {0}


def test_exact_fits_are_told_and_count_for_no_mean():
    exact = record([10.0, 20.0, None]) | {"metrics": {"ssim": 1.0}, "exact": ["psnr"]}
    records = {("s", "a"): [exact, exact], ("s", "b"): [exact, record([10.0, 20.0, 30.0])]}
    rows = tables.make_rows(Experiment("audio", {}, {}, metrics=("psnr",)), records)
    text = tables.format_markdown(rows, 2)
    assert "| s | a | 2 | exact |" in text
    assert "| s | b | 2 | 30.00 (1 of 2, 1 exact) |" in text
    assert tables.format_csv(rows).splitlines()[1].startswith("s,a,2,inf,,2")


def test_a_mean_over_signals_says_of_how_many_runs_it_is():
    lost = record([10.0, None, None])
    lost["metrics"] = {}
    records = {
        ("s", "a"): [record([10.0, 20.0, 30.0]), record([10.0, 20.0, 32.0]), lost],
        ("t", "a"): [record([10.0, 20.0, 40.0])] * 3,
    }
    rows = tables.make_rows(Experiment("audio", {}, {}, metrics=("psnr",)), records)
    assert "| mean | a | 6 | 35.50 (5 of 6) |" in tables.format_markdown(rows, 2)
    table = list(csv.DictReader(tables.format_csv(rows).splitlines()))
    assert [row["psnr count"] for row in table] == ["2", "3", "5"]


def test_the_best_of_an_error_is_the_lowest():
    records = {
        ("s", name): [{"metrics": {"log_spectral_distance": value}}] for name, value in (("a 1", 4.0), ("a 2", 1.0))
    }
    variants = {name: Variant(group="a") for name in ("a 1", "a 2")}
    experiment = Experiment("audio", {}, variants, digits=1, best=("log_spectral_distance",))
    assert "| a | 1.0 (2) |" in tables.format_best(experiment, records)


def test_errors_relative_to_the_baselines_are_geometric_means():
    values = {("a", "old"): (0.9, 0.2), ("a", "new"): (0.95, 0.4), ("b", "old"): (0.8, 0.2), ("b", "new"): (0.975, 0.1)}
    records = {key: [{"metrics": {"iou": iou, "chamfer_l1": distance}}] for key, (iou, distance) in values.items()}
    experiment = Experiment("sdf", {}, {}, baseline="old", relative=("iou", "chamfer_l1"))
    text = tables.format_relative(experiment, records)
    assert "| variant | 1 - iou | chamfer_l1 |" in text
    assert "| old | 1.000 | 1.000 |" in text
    assert "| new | 0.250 | 1.000 |" in text, "of 1/2 and 1/8, and of 2 and 1/2"
    del records["b", "new"]
    assert "| new |  |  |" in tables.format_relative(experiment, records)
    assert tables.format_relative(replace(experiment, relative=()), records) == ""


def test_the_best_of_each_group_on_each_signal():
    values = {"a 1": ((10, 5), (20, 1)), "a 2": ((11, 4), (15, 2)), "b": ((9, 9), (30, 3))}
    records = {
        (signal, name): [{"metrics": {"psnr": float(fitted), "psnr_held_out": float(held_out)}}]
        for name, pairs in values.items()
        for signal, (fitted, held_out) in zip("xy", pairs, strict=True)
    }
    variants = {name: Variant(group="a" if name != "b" else None) for name in values}
    experiment = Experiment("audio", {}, variants, digits=1, best=("psnr", "psnr_held_out"))
    by_fitted, by_held_out = tables.format_best(experiment, records).split("\n\nThe best")
    assert "| group | x | y | mean |" in by_fitted
    assert "| a | 11.0 / 4.0 (2) | 20.0 / 1.0 (1) | 15.5 / 2.5 |" in by_fitted
    assert "| b | 9.0 / 9.0 | 30.0 / 3.0 | 19.5 / 6.0 |" in by_fitted
    assert "| a | 10.0 / 5.0 (1) | 15.0 / 2.0 (2) | 12.5 / 3.5 |" in by_held_out
    records["y", "a 2"] = [{"metrics": {}}]  # it diverged
    assert "| a | 10.0 / 5.0 (1) | 20.0 / 1.0 (1) |" in tables.format_best(experiment, records)
    del records["y", "b"]
    assert "| b | 9.0 / 9.0 |  |  |" in tables.format_best(experiment, records)
    assert tables.format_best(replace(experiment, best=()), records) == ""


def test_a_variant_may_have_another_optimiser(folder):
    path = written(folder, variants__SIREN__optimizer="muon", variants__half={"options": {"init": "siren"}})
    muon, _, adam = planned(read_experiment(path), folder, seeds=1)[:3]
    assert (muon.fit.optimizer, adam.fit.optimizer) == ("muon", "adam")
    assert [run.specification["optimizer"] for run in (muon, adam)] == ["muon", "adam"]
    curves = [runs.perform(run, CPU, lambda part: None)["curve"] for run in (muon, adam)]
    assert curves[0][0]["psnr"] == curves[1][0]["psnr"]
    assert curves[0][-1]["psnr"] != curves[1][-1]["psnr"]


def test_a_front_and_how_far_one_lies_above_another():
    points = [fronts.Point("", x, y) for x, y in ((1, 5), (3, 3), (2, 2), (0, 5), (4, 1))]
    x, y = fronts.pareto_front(points)
    assert x.tolist() == [1, 3, 4]
    assert y.tolist() == [5, 3, 1]
    higher = [fronts.Point("", 2, 6), fronts.Point("", 6, 2)]
    gap = fronts.compare_fronts(higher, points)
    # Over x from 2 to 4: the one falls from 6 to 4; the other from 4 to 3 and on to 1.
    assert (gap.low, gap.high) == (2, 4)
    assert gap.least == pytest.approx(2, abs=0.02)
    assert gap.mean == pytest.approx((2 + 2) / 4 + (2 + 3) / 4, abs=0.02)
    assert fronts.compare_fronts(points, [fronts.Point("", 9, 9)]) is None


def test_the_spectrum_has_the_sounds_power_at_its_frequency():
    sound = np.cos(np.pi * 0.25 * np.arange(2000))[:, None]
    frequency, power = plots.compute_power_spectrum(sound)
    assert frequency[power.argmax()] == pytest.approx(0.25, abs=1 / plots.BANDS)
    assert (power[np.abs(frequency - 0.25) > 0.02] < 1e-9 * power.max()).all()
    noise = np.random.default_rng(0).standard_normal((64, 512, 3))
    _, white = plots.compute_power_spectrum(noise)
    # 64 lines of 3 channels and 2 or 3 frequencies each: 1 / sqrt(500) of spread.
    np.testing.assert_allclose(white, 1, atol=0.25)
    assert white.mean() == pytest.approx(1, abs=0.02)


def test_the_time_left_goes_by_the_variants_own_speed(folder):
    experiment = read_experiment(written(folder))
    fast, slow, unknown = (planned(experiment, folder)[index] for index in (0, 2, 4))
    remaining = progress.RemainingTime([fast, slow, unknown], [(fast, {"wall": 2.0}), (slow, {"wall": 6.0})])
    assert remaining.seconds() == pytest.approx(2 + 6 + 4)
    remaining.finish({"wall": 4.0})
    assert remaining.seconds() == pytest.approx(6 + 4)
    assert str(remaining) == "10 s"
    assert progress.RemainingTime([fast], []).seconds() is None
    assert str(progress.RemainingTime([fast], [])) == "unknown"


def test_the_hiss_has_nothing_but_high_frequencies():
    from winner_nerfstudio.signals.samples import hiss

    sound, rate = hiss()
    assert np.array_equal(sound, hiss()[0])
    power = np.abs(np.fft.rfft(sound[:, 0])) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / rate)
    inside = (frequency >= 0.7 * rate / 2) & (frequency <= 0.9 * rate / 2)
    assert power[~inside].sum() < 1e-20 * power.sum()
    np.testing.assert_allclose(power[inside] / power[inside].mean(), 1, rtol=1e-9)


TRAIN = """#!{python}
import json, pathlib, sys
value = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder = pathlib.Path(value["--output-dir"], pathlib.Path(value["--data"]).name, sys.argv[1], value["--timestamp"])
folder.mkdir(parents=True)
psnr = 20.0 + int(value["--machine.seed"]) + 10 * ("winner" in sys.argv)
(folder / "metrics.json").write_text(json.dumps({{"psnr": psnr, "ssim": 0.5}}))
"""
"""Stands in for ns-train: a PSNR of 21, 22, 23 by the seed, and 10 dB more with WINNER's initialisation."""


@pytest.mark.commands
def test_photographs_are_compared_by_ns_train_and_finished_runs_are_not_repeated(tmp_path):
    program = tmp_path / "ns-train"
    program.write_text(TRAIN.format(python=sys.executable))
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def compare(*flags):
        return call_script("compare_photos.py", ROOT / "configs" / "views_nerf.yml", *flags, cwd=tmp_path, PATH=path)

    (tmp_path / "snowman").mkdir()
    for _ in range(2):
        done = compare()
        assert done.returncode == 0, done.stderr
        assert "| snowman | SIREN | 3 | 22.000 ± 1 | 0.5000 ± 0 |" in done.stdout
        assert "| snowman | WINNER | 3 | 32.000 ± 1 | 0.5000 ± 0 |" in done.stdout
        program.write_text("#!/bin/false")
    program.write_text("#!/bin/sh\necho no such folder; exit 1")
    failed = compare("--flags=--vis wandb")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ns-train winner-nerf --data snowman")
    assert "no such folder" in failed.stderr


def test_a_poor_fit_of_a_script_is_no_failure():
    from scripts.compare_photos import call as call_program

    program = "import sys; print('error: no', file=sys.stderr); sys.exit({})"
    call_program([sys.executable, "-c", program.format(POOR_FIT)])
    with pytest.raises(SystemExit, match="error: no"):
        call_program([sys.executable, "-c", program.format(1)])


@pytest.mark.commands
@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("compare_photos.py", [ROOT / "configs" / "views_nerf.yml"], "error: snowman: no such folder of photographs"),
        (
            "compare_photos.py",
            [ROOT / "configs" / "views_nerf.yml", "--folder", "photos", "--output", "file/table.md"],
            "error: file/table.md: file is a file and no folder",
        ),
        (
            "compare_photos.py",
            [ROOT / "configs" / "views_nerf.yml", "--folder", "photos", "--flags=--stop"],
            "error: ns-train says what is wrong",
        ),
        ("compare_colour.py", ["--output", "file", "--seeds", "1"], "error: file: holds no results of this script"),
        ("compare_colour.py", ["--output", "file/colour.json"], "error: file/colour.json: file is a file"),
    ],
)
def test_scripts_that_compare_refuse_in_one_line_what_would_end_them_later(script, arguments, words, tmp_path):
    (tmp_path / "photos" / "snowman").mkdir(parents=True)
    (tmp_path / "file").write_text("{")
    program = tmp_path / "ns-train"
    program.write_text("#!/bin/sh\necho warning >&2; echo error: ns-train says what is wrong >&2; exit 1")
    program.chmod(0o755)
    done = call_script(script, *arguments, cwd=tmp_path, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(words)
    assert done.stderr.count("\n") == 1


@pytest.mark.commands
@pytest.mark.parametrize(
    "file, words",
    [("no.wav", "no.wav: "), ("wide.png", "wide.png: 12 x 8 pixels are no square of a multiple of --size 4")],
)
def test_the_plain_loop_refuses_what_it_cannot_read_in_one_line(file, words, tmp_path):
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / "wide.png")
    done = call_script("plain_loop.py", tmp_path / file, "--size", "4", "--steps", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
