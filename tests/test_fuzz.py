"""Damaged files of every format load, or are refused in one line: no tracebacks, no crashes, nothing without end."""

import numpy as np
import pytest

from winner_nerfstudio.registry import all_kinds

from .fuzz import GOOD, WITHOUT_SAMPLE, load_all, load_one, mutate


def check_mutants(folder, seeds):
    """Load one mutant for each of the seeds, which also choose its format; print the bad ones so that they can be made
    again."""
    names, jobs = sorted(GOOD), []
    good = {name: GOOD[name].make() for name in names}
    for seed in seeds:
        name = names[seed % len(names)]
        path = folder / f"{seed}{GOOD[name].suffix}"
        path.write_bytes(mutate(good[name], seed))
        jobs.append((path, GOOD[name].kind))
    outcomes = load_all(jobs)
    bad = [
        f"mutate(GOOD[{names[seed % len(names)]!r}].make(), {seed}): {outcome.word}: {outcome.message}"
        for seed, outcome in zip(seeds, outcomes, strict=True)
        if not outcome.good
    ]
    assert not bad, "\n".join(bad)
    return outcomes


def test_every_suffix_of_every_kind_has_a_good_file():
    missing = {suffix for kind in all_kinds() for suffix in kind.suffixes} - {good.suffix for good in GOOD.values()}
    missing -= WITHOUT_SAMPLE
    assert not missing, f"tests/fuzz.py has no good file with one of {sorted(missing)}"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_files_load(tmp_path, name):
    path = tmp_path / f"good{GOOD[name].suffix}"
    path.write_bytes(GOOD[name].make())
    outcome = load_one(path, GOOD[name].kind)
    assert outcome.word == "loaded", outcome


def test_a_mutant_is_the_same_for_the_same_seed():
    data = GOOD["glb"].make()
    assert [mutate(data, seed) for seed in range(20)] == [mutate(data, seed) for seed in range(20)]
    assert np.mean([mutate(data, seed) != data for seed in range(200)]) > 0.8


@pytest.mark.quality
def test_hundreds_of_mutants_load_or_are_refused(tmp_path):
    outcomes = check_mutants(tmp_path, [*range(150), *range(1000, 1500)])
    refused = sum(outcome.word == "refused" for outcome in outcomes)
    assert 163 < refused < 617
