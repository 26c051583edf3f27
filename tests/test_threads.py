"""Numbers of threads: set where they are wanted, put back, and no part of a result."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from dvae import DataError, DenseVAE, PodVAE, fit
from dvae.threads import available_cores, map_batches, one_thread
from dvae.training import Recipe
from dvae.training.ensemble import Ensemble


@pytest.fixture(autouse=True)
def _two_threads():
    """Two threads in every library, whatever the tests run with."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(before)


def threads() -> set[int]:
    """Numbers of threads that the calling thread's operations have."""
    return {torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())}


def test_one_thread_is_set_everywhere_and_put_back():
    assert threads() == {2}
    with one_thread():
        assert threads() == {1}
        with one_thread():
            assert threads() == {1}
        assert threads() == {1}
    assert threads() == {2}
    with pytest.raises(RuntimeError), one_thread():
        raise RuntimeError
    assert threads() == {2}


def test_it_is_also_a_decorator():
    decorated = one_thread()(threads)
    assert decorated() == {1} and decorated() == {1}
    assert threads() == {2}


@pytest.mark.parametrize("workers", [1, 2, 3, 20, None])
def test_results_come_in_order_and_every_operation_has_one_thread(workers):
    def work(batch):
        time.sleep(0.02 if batch % 3 == 0 else 0)  # later batches may be done earlier
        return batch, threads(), threading.get_ident()

    done = map_batches(work, range(9), workers=workers)
    assert [batch for batch, _, _ in done] == list(range(9))
    assert all(seen == {1} for _, seen, _ in done)
    assert len({thread for _, _, thread in done}) <= (workers or 2)
    assert threads() == {2}
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert elsewhere == [2]  # what other threads start with is put back, too


def test_every_openmp_has_one_thread_in_a_worker():
    """scikit-learn has an OpenMP of its own, which counts for each thread, from the environment."""
    code = """
import sklearn.cluster, torch
from threadpoolctl import threadpool_info
from dvae.threads import map_batches
def seen(_):
    return {torch.get_num_threads(), *(one["num_threads"] for one in threadpool_info())}
print(set().union(*map_batches(seen, range(4), workers=2)))
"""
    variables = {f"{name}_NUM_THREADS": "2" for name in ("OMP", "MKL", "OPENBLAS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True
    )
    assert done.stdout.strip() == "{1}", done.stderr


def test_batches_run_side_by_side():
    both_are_here = threading.Barrier(2, timeout=30)
    map_batches(lambda _: both_are_here.wait(), range(2), workers=2)


def test_by_default_there_are_as_many_workers_as_threads_and_cores():
    def worker(_):
        time.sleep(0.01)
        return threading.get_ident()

    assert len(set(map_batches(worker, range(8)))) <= min(2, available_cores())
    with one_thread():
        assert set(map_batches(worker, range(4))) == {threading.get_ident()}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_batch_that_fails_is_reported_and_others_are_left_out(workers):
    begun = []

    def work(batch):
        begun.append(batch)
        time.sleep(0.01)
        if batch in (2, 3):
            raise ValueError(f"batch {batch}")

    with pytest.raises(ValueError, match="batch 2"):
        map_batches(work, range(100), workers=workers)
    assert len(begun) < 100
    assert threads() == {2}


@pytest.mark.parametrize("workers", [0, -1, 1.5])
@pytest.mark.wrong_types
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers):
    with pytest.raises(DataError, match="workers is"):
        map_batches(str, [1], workers=workers)


def test_no_batches_give_no_results():
    assert map_batches(str, []) == []


def seen_during(model, monkeypatch) -> set[int]:
    """Threads of the losses while a model trains and while it is evaluated."""
    seen = set()
    original = Ensemble.loss_terms

    def loss_terms(self, *arguments, **options):
        seen.add(torch.get_num_threads())
        return original(self, *arguments, **options)

    monkeypatch.setattr(Ensemble, "loss_terms", loss_terms)
    fields = torch.randn(8, *model.field_shape)
    recipe = Recipe("short", 2, 4, variance=model.decoder.variance.kind)
    done = fit(model, fields, recipe, range(2), progress=False)
    done.ensemble.evaluate(fields)
    return seen


def test_members_without_convolutions_train_with_one_thread(monkeypatch):
    fields = torch.randn(8, 1, 9, 9)
    assert seen_during(PodVAE.from_fields(fields, 4, hidden=(8,)), monkeypatch) == {1}
    assert threads() == {2}


def test_members_that_convolve_keep_all_threads(monkeypatch):
    assert seen_during(DenseVAE(17, blocks=(1, 1, 1)), monkeypatch) == {2}


def test_a_pod_ensemble_does_not_depend_on_the_threads_given():
    fields = torch.randn(64, 3, 17, 17)
    model = PodVAE.from_fields(fields, 12)
    recipe = Recipe("short", 20, 32, variance=model.decoder.variance.kind)
    rows = []
    for count in (1, 2):
        torch.set_num_threads(count)
        done = fit(model, fields, recipe, range(3), progress=False)
        rows.append(done.ensemble.parameters.numpy())
    np.testing.assert_array_equal(*rows)
