"""An untrained forecaster is persistence; every input reaches the output; rollouts repeat it."""

from dataclasses import replace

import pytest
import torch

from forecast.architecture import IcocastConfig
from forecast.conventions import DataError
from forecast.model.family import forecaster
from forecast.model.fluxes import flux_table
from forecast.model.forecaster import DirectForecaster, Forecaster
from forecast.model.icocast import Icocast
from forecast.model.loss import rollout_error, tendency_error
from forecast.model.rollout import rollout
from meshes.icosphere import icosphere

CONFIG = IcocastConfig(
    kind="icocast",
    channels=16,
    layers=2,
    hidden=2,
    features="real",
    phase_cap=4.0,
    smoothing="per_channel",
    smoothing_cap=4.0,
    low_degree=5,
    transport="products",
    heads=4,
    heat_kernels=(1.0, 4.0),
    wave_kernels=(2.0,),
    powers=2,
    sources=2,
    analysis=False,
    current=False,
    relaxation="none",
    relaxation_cap=4.0,
    hyperdiffusion=True,
    statics=(),
)


def made(generator, trained, frames=1, **changes):
    model = forecaster(
        CONFIG.model_copy(update=changes),
        spread=torch.full((5,), 0.1),
        differences=torch.ones(frames, 5),
        statics=3,
        reference=80.0,
        generator=generator,
    ).double()
    if trained:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "decoder" in name or "mixing" in name:
                    parameter.normal_(generator=generator, std=0.1)
                elif name.endswith("share"):
                    parameter.fill_(0.5)
    return model


@pytest.fixture
def inputs(operator, generator):
    state = torch.randn(operator.vertices, 2, 5, dtype=torch.float64, generator=generator)
    statics = torch.randn(operator.vertices, 3, dtype=torch.float64, generator=generator)
    return state, statics


def test_untrained_predicts_no_change(operator, generator, inputs):
    state, statics = inputs
    assert torch.equal(made(generator, trained=False)(state, statics, operator), state)


def test_every_input_changes_the_output(operator, generator, inputs):
    state, statics = inputs
    model = made(generator, trained=True)
    before = model(state, statics, operator).detach()
    for channel in range(5):
        changed = state.clone()
        changed[7, 0, channel] += 1
        assert (model(changed, statics, operator).detach() - before)[:, 0].abs().max() > 1e-4
    for static in range(3):
        changed = statics.clone()
        changed[7, static] += 1
        assert (model(state, changed, operator).detach() - before).abs().max() > 1e-4


def test_samples_of_a_batch_do_not_meet(operator, generator, inputs):
    state, statics = inputs
    model = made(generator, trained=True)
    both = model(state, statics, operator).detach()
    alone = model(state[:, 1:], statics, operator).detach()
    torch.testing.assert_close(both[:, 1:], alone, rtol=0, atol=1e-12)


def test_every_weight_is_learned(operator, generator, inputs):
    state, statics = inputs
    model = made(generator, trained=True)
    model(state, statics, operator).square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_features_are_alive_at_the_start(operator, generator, inputs):
    # zero-padding alone would leave channels beyond the state's at zero through all layers
    state, _ = inputs
    features = state @ made(generator, trained=False).get_buffer("network.pad").double()
    assert features.var((0, 1)).min() > 1e-3


def test_a_rollout_is_the_step_repeated(operator, generator, inputs):
    state, statics = inputs
    model = made(generator, trained=True)
    leads = list(rollout(lambda now: model(now, statics, operator), state, 3))
    by_hand = state
    for lead in leads:
        by_hand = model(by_hand, statics, operator)
        torch.testing.assert_close(lead.detach(), by_hand.detach(), rtol=0, atol=0)


def test_forty_steps_of_a_relaxed_model_stay_finite(operator, generator, inputs):
    state, statics = inputs
    model = made(generator, trained=True, powers=1)  # a square of random sign may run away
    with torch.no_grad():
        *_, last = rollout(lambda now: model(now, statics, operator), state, 40)
    assert torch.isfinite(last).all()


def test_persistence_has_error_one_in_units_of_the_tendency(operator, generator, inputs):
    state, _ = inputs
    spread = torch.full((5,), 0.3).double()
    target = state + spread * torch.ones_like(state)
    assert float(tendency_error(state, target, spread, operator)) == pytest.approx(1)
    walk = [state + spread * lead**0.5 for lead in (1, 2, 3)]
    assert float(rollout_error([state] * 3, walk, spread, operator)) == pytest.approx(1)


def test_the_error_is_weighted_by_area(operator, inputs):
    state, _ = inputs
    target, spread = state.clone(), torch.ones(5).double()
    target[0] += 1
    share = float(operator.weights[0]) / operator.vertices
    assert float(tendency_error(state, target, spread, operator)) == pytest.approx(share)


def test_more_states_than_channels_are_refused(generator):
    with pytest.raises(DataError, match="at least 20, what the state has, got 16"):
        made(generator, trained=False, frames=4)


@pytest.mark.parametrize("transport", ["none", "skew", "products"])
@pytest.mark.parametrize("smoothing", ["none", "shared", "gated"])
def test_every_form_is_persistence_until_it_is_trained(
    transport, smoothing, operator, generator, inputs
):
    state, statics = inputs
    model = made(generator, trained=False, transport=transport, smoothing=smoothing)
    with_fluxes = replace(operator, fluxes=flux_table(icosphere(2)).to("cpu", torch.float64))
    assert torch.equal(model(state, statics, with_fluxes), state)


def test_relaxation_is_nearly_nothing_until_it_is_trained(operator, generator, inputs):
    state, statics = inputs
    model = made(generator, trained=False, relaxation="gated", hyperdiffusion=False)
    # smoothing starts at 1e-4: of white noise that is as much
    torch.testing.assert_close(model(state, statics, operator), state, rtol=0, atol=1e-3)


def test_skew_transport_without_fluxes_is_refused(operator, generator, inputs):
    state, statics = inputs
    with pytest.raises(ValueError, match="expected an operator with_fluxes"):
        made(generator, trained=False, transport="skew")(state, statics, operator)


class Newest(torch.nn.Module):
    """Gives the newest frame itself, and remembers what it was given."""

    def forward(self, inputs, operator):
        self.seen = inputs
        return inputs[..., :2]


SIZE = torch.tensor([2.0, 5.0], dtype=torch.float64)


def test_frames_come_newest_first_and_move_on(operator, generator):
    frames = torch.randn(operator.vertices, 1, 3, 2, dtype=torch.float64, generator=generator)
    network, spread = Newest(), torch.ones(2).double()
    model = Forecaster(network, spread=spread, size=SIZE, frames=3)
    statics = torch.zeros(operator.vertices, 1, dtype=torch.float64)
    found = model(frames.flatten(2), statics, operator).unflatten(-1, (3, 2))
    newest = frames[:, :, 2]
    given = network.seen[..., :6].unflatten(-1, (3, 2))
    torch.testing.assert_close(given, frames.flip(2) / SIZE)
    torch.testing.assert_close(found[:, :, :2], frames[:, :, 1:])
    torch.testing.assert_close(found[:, :, 2], newest + newest / SIZE)


def test_a_direct_forecaster_takes_the_next_state_as_given(operator, generator):
    state = torch.randn(operator.vertices, 1, 2, dtype=torch.float64, generator=generator)
    model = DirectForecaster(Newest(), spread=torch.ones(2).double(), size=SIZE, frames=1)
    statics = torch.zeros(operator.vertices, 0, dtype=torch.float64)
    torch.testing.assert_close(model(state, statics, operator), state)


def test_our_network_takes_differences_in_their_sizes(operator, generator):
    sizes = torch.tensor([[1.0, 1.0], [0.5, 2.0], [0.25, 4.0]])
    network = Icocast(
        CONFIG, differences=sizes, statics=1, reference=80.0, generator=generator
    ).double()
    new, old, oldest = torch.randn(3, operator.vertices, 1, 2, dtype=torch.float64).unbind()
    inputs = torch.cat([new, old, oldest, new[..., :1]], dim=-1)
    with torch.no_grad():
        spread = network.spread_fields(inputs, operator)
    expected = torch.stack([new, new - old, new - 2 * old + oldest], 2) / sizes
    torch.testing.assert_close(spread[..., :4], expected[:, :, :2].flatten(2))
    torch.testing.assert_close(spread[..., 4:6], new**2)
