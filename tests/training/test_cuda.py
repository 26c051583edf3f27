"""What only a machine with a CUDA device can show: the GPU computes what the CPU computes."""

import numpy as np
import pytest
import torch

from dvae import make_recipe
from dvae.models import DenseVAE, PodVAE
from dvae.physics import KarhunenLoeve, solve_darcy
from dvae.training import Labels, Recipe, fit

pytestmark = pytest.mark.cuda
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

N, STEPS = 17, 30
GENERATOR = torch.Generator().manual_seed(0)
THETA = torch.randn(48, 2, generator=GENERATOR, dtype=torch.float64)
FIELDS = torch.einsum(
    "ns,scij->ncij",
    THETA,
    torch.randn(2, 3, N, N, generator=GENERATOR, dtype=torch.float64),
) + 0.1 * torch.randn(48, 3, N, N, generator=GENERATOR, dtype=torch.float64)
# both devices work in float64 and add in other orders; 30 steps of Adam amplify the last digits
CLOSE = {"rtol": 1e-7, "atol": 1e-9}


def dense(**arguments):
    return DenseVAE(N, blocks=(2, 1, 2), **arguments).double()


def pod(**arguments):
    return PodVAE.from_fields(FIELDS, 6, hidden=(8,), **arguments).double()


def recipe_of(**changes):
    defaults = {"steps": STEPS, "batch_size": 8, "reconstruction_steps": 5, "labelled_batch": 3}
    return Recipe("test", **(defaults | changes))


LEARNED = {"variance": "learned", "schedule": "published", "nu": 0.5}
CASES = {
    "dense, learned variance": (dense, LEARNED),
    "dense, annealed, rectified prior": (
        lambda: dense(prior="hierarchical-rectified"),
        {"floor": (1.0, 0.1, 15), "gradient_norm": 1.0},
    ),
    "dense, one cycle": (dense, {"learning_rate_schedule": "one-cycle"}),
    "pod, learned variance": (pod, LEARNED),
    "pod, hierarchical prior": (lambda: pod(prior="hierarchical"), {}),
    "pod, labelled": (pod, {"label_weight": 0.5}),
}


def train(case, seeds, device="cuda", **options):
    make, changes = CASES[case]
    labels = Labels(np.arange(6), THETA[:6].numpy()) if "labelled" in case else None
    return fit(
        make(), FIELDS, recipe_of(**changes), seeds, labels=labels, device=device,
        progress=False, record_every=1, **options,
    )  # fmt: skip


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one.ensemble.parameters, other.ensemble.parameters, **tolerance)
    for name, value in one.ensemble.buffers.items():
        torch.testing.assert_close(value, other.ensemble.buffers[name], **tolerance)
    for name in ("rate", "distortion", "beta", "label"):
        np.testing.assert_allclose(one.history[name], other.history[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_training_is_that_of_the_cpu(case):
    """Warm-up steps and steps of the captured graph alike."""
    on_gpu, on_cpu = train(case, [3, 5, 8]), train(case, [3, 5, 8], "cpu")
    assert_same(on_gpu, on_cpu, **CLOSE)


@pytest.mark.parametrize("case", CASES)
def test_a_member_is_the_same_alone_and_in_company(case):
    alone, together = train(case, [5]), train(case, [3, 5, 8, 1])
    torch.testing.assert_close(
        together.ensemble.parameters[1:2], alone.ensemble.parameters, **CLOSE
    )


@pytest.mark.parametrize("case", CASES)
def test_the_same_call_gives_the_same_bits(case):
    one, other = train(case, [3, 5]), train(case, [3, 5])
    assert torch.equal(one.ensemble.parameters, other.ensemble.parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, dtype):
    def run(monitor=None):
        return fit(
            DenseVAE(N, blocks=(2, 1, 2)).to(dtype), FIELDS, recipe_of(steps=150, **LEARNED),
            [1, 2], device="cuda", progress=False, record_every=1, monitor=monitor,
            checkpoint=path, checkpoint_seconds=0.0,
        )  # fmt: skip

    def stop(step, _):
        if step >= 128:
            raise KeyboardInterrupt

    path = tmp_path / "run.pt"
    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(stop)
    assert path.exists()
    resumed = run()
    assert torch.equal(whole.ensemble.parameters, resumed.ensemble.parameters)


def test_single_precision_is_single_precision():
    """Convolutions in TensorFloat-32, torch's default, would differ by 1e-3."""
    fields = FIELDS.float()
    model = DenseVAE(N, blocks=(2, 1, 2))
    recipe = recipe_of(steps=1, learning_rate=1e-6)
    found = {
        device: fit(model, fields, recipe, [0, 1], device=device, progress=False, record_every=1)
        for device in ("cpu", "cuda")
    }
    cpu, cuda = (found[device].history for device in ("cpu", "cuda"))
    np.testing.assert_allclose(cuda["distortion"], cpu["distortion"], rtol=2e-5)
    np.testing.assert_allclose(cuda["rate"], cpu["rate"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [dense, pod])
def test_evaluation_is_that_of_the_cpu(make):
    done = fit(make(), FIELDS, recipe_of(), [0, 1], progress=False)
    z = torch.randn(2, 5, 2, dtype=torch.float64, generator=GENERATOR)
    on_cpu = (*done.ensemble.encode(FIELDS), done.ensemble.decode(z))
    losses = done.ensemble.evaluate(FIELDS)
    done.ensemble.to("cuda")
    on_gpu = (*done.ensemble.encode(FIELDS), done.ensemble.decode(z.cuda()))
    for gpu, cpu in zip(on_gpu, on_cpu, strict=True):
        torch.testing.assert_close(gpu.cpu(), cpu, rtol=1e-9, atol=1e-10)
    found = done.ensemble.evaluate(FIELDS)
    for name in losses:
        np.testing.assert_allclose(found[name], losses[name], rtol=1e-8, atol=1e-10)


def test_darcy_flow_is_that_of_the_cpu():
    theta = torch.randn(6, 2, dtype=torch.float64, generator=GENERATOR)
    permeability = KarhunenLoeve(2, 33).permeability(theta)
    cpu, gpu = solve_darcy(permeability), solve_darcy(permeability, device="cuda")
    torch.testing.assert_close(gpu.pressure.cpu(), cpu.pressure, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gpu.velocity.cpu(), cpu.velocity, rtol=1e-8, atol=1e-8)


def test_a_recipe_of_the_book_learns():
    recipe = make_recipe("calibrated").shortened(0.05)
    result = fit(PodVAE.from_fields(FIELDS.float(), 6), FIELDS.float(), recipe, range(3),
                 device="cuda", progress=False)  # fmt: skip
    loss = result.history["distortion"]
    assert (loss[:, -1] < loss[:, 0]).all()
    assert not result.diverged.any()
