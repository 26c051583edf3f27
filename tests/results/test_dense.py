"""The table of DenseVAEs: a twisted run, one that diverged, and what is counted on which grid."""

import numpy as np
import pytest
import xarray as xr

from dvae.results.dense import dense_table, load_dense_runs
from dvae.results.store import Store, write_result

N = 400


@pytest.fixture
def store(tmp_path):
    generator = np.random.default_rng(0)
    theta = np.sign(generator.standard_normal((N, 2))) + 0.1 * generator.standard_normal((N, 2))
    product = np.stack([theta[:, 0], theta[:, 0] * theta[:, 1]], axis=1)  # follows one factor only
    latents = [theta, product, theta, theta]
    runs = xr.Dataset(
        {
            "latent_mean": (("trial", "sample", "latent"), np.stack(latents)),
            "rate": ("trial", np.full(4, 10.0)),
            "loss_per_node": ("trial", np.arange(4.0)),
            "relative_error": ("trial", np.full(4, 0.01)),
            "seconds": ("trial", np.full(4, 2.0)),
            "diverged": ("trial", [0, 0, 1, 0]),
            "variance_left_by_sample": (("trial", "sample"), np.outer([1, 3, 9, 2], np.ones(N))),
        },
        coords={
            "factors": ("trial", ["four-modes"] * 4),
            "prior": ("trial", ["standard"] * 4),
            "recipe": ("trial", ["one-cycle"] * 4),
            "n_nodes": ("trial", [33, 33, 33, 65]),
            "seed": ("trial", [0, 1, 2, 0]),
        },
        attrs={"profile": "laptop"},
    )
    base = xr.Dataset(
        {"theta": (("trial", "sample", "factor"), theta[None])},
        coords={"factors": ("trial", ["four-modes"]), "data_seed": ("trial", [0])},
    )
    store = Store(tmp_path)
    for name, data in (("dense_runs", runs), ("baselines", base)):
        store.path(name, "laptop").parent.mkdir(parents=True)
        write_result(data, store.path(name, "laptop"))
    return store


def test_runs_and_their_table(store):
    runs = load_dense_runs("laptop", store)
    assert runs["twisted"].tolist() == [False, True, False, False]
    assert runs["disentangled"].tolist() == [True, False, False, True]
    assert np.isnan(runs["mcc"][2])
    assert runs["mcc"][0] == pytest.approx(1)
    table = dense_table(runs)
    assert table.index.get_level_values("n_nodes").tolist() == [65, 33]
    row = table.loc[(33, "one-cycle", "four-modes", "standard")]
    assert (row["runs"], row["diverged"], row["disentangled"], row["twisted"]) == (3, 1, 1, 1)
    assert (row["failed"], row["variance_left"], row["variance_left_worst"]) == (1, 2, 3)
