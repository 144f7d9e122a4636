"""An untrained forecaster is persistence; every input reaches the output; rollouts repeat it."""

import pytest
import torch

from forecast.config import ModelConfig
from forecast.conventions import DataError
from forecast.model.forecaster import Forecaster
from forecast.model.loss import rollout_error, tendency_error
from forecast.model.rollout import rollout

CONFIG = ModelConfig(
    channels=16,
    layers=2,
    low_degree=5,
    heads=4,
    phase_cap=4.0,
    smoothing_cap=4.0,
    statics=(),
)


def forecaster(generator, trained):
    spread = torch.full((5,), 0.1)
    made = Forecaster(CONFIG, spread=spread, statics=3, generator=generator).double()
    if trained:
        with torch.no_grad():
            for parameter in made.decoder.parameters():
                parameter.normal_(generator=generator, std=0.1)
            made.relaxation.share.fill_(0.5)
    return made


@pytest.fixture
def inputs(operator, generator):
    state = torch.randn(operator.vertices, 2, 5, dtype=torch.float64, generator=generator)
    statics = torch.randn(operator.vertices, 3, dtype=torch.float64, generator=generator)
    return state, statics


def test_untrained_predicts_no_change(operator, generator, inputs):
    state, statics = inputs
    assert torch.equal(forecaster(generator, trained=False)(state, statics, operator), state)


def test_every_input_changes_the_output(operator, generator, inputs):
    state, statics = inputs
    model = forecaster(generator, trained=True)
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
    model = forecaster(generator, trained=True)
    both = model(state, statics, operator).detach()
    alone = model(state[:, 1:], statics, operator).detach()
    torch.testing.assert_close(both[:, 1:], alone, rtol=0, atol=1e-12)


def test_every_weight_is_learned(operator, generator, inputs):
    state, statics = inputs
    model = forecaster(generator, trained=True)
    model(state, statics, operator).square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_features_are_alive_at_the_start(operator, generator, inputs):
    # zero-padding alone would leave channels beyond the state's at zero through all layers
    state, _ = inputs
    features = state @ forecaster(generator, trained=False).pad.double()
    assert features.var((0, 1)).min() > 1e-3


def test_a_rollout_is_the_step_repeated(operator, generator, inputs):
    state, statics = inputs
    model = forecaster(generator, trained=True)
    leads = list(rollout(lambda now: model(now, statics, operator), state, 3))
    by_hand = state
    for lead in leads:
        by_hand = model(by_hand, statics, operator)
        torch.testing.assert_close(lead.detach(), by_hand.detach(), rtol=0, atol=0)


def test_forty_steps_of_a_relaxed_model_stay_finite(operator, generator, inputs):
    state, statics = inputs
    model = forecaster(generator, trained=True)
    with torch.no_grad():
        *_, last = rollout(lambda now: model(now, statics, operator), state, 40)
    assert torch.isfinite(last).all()


def test_persistence_has_error_one_in_units_of_the_tendency(operator, generator, inputs):
    state, _ = inputs
    spread = torch.full((5,), 0.3).double()
    target = state + spread * torch.ones_like(state)
    assert float(tendency_error(state, target, spread, operator.weights)) == pytest.approx(1)
    walk = [state + spread * lead**0.5 for lead in (1, 2, 3)]
    assert float(rollout_error([state] * 3, walk, spread, operator.weights)) == pytest.approx(1)


def test_the_error_is_weighted_by_area(operator, inputs):
    state, _ = inputs
    target, spread = state.clone(), torch.ones(5).double()
    target[0] += 1
    share = float(operator.weights[0]) / operator.vertices
    assert float(tendency_error(state, target, spread, operator.weights)) == pytest.approx(share)


def test_more_states_than_channels_are_refused(generator):
    with pytest.raises(DataError, match="at least 20, what the state has, got 16"):
        Forecaster(CONFIG, spread=torch.ones(20), statics=3, generator=generator)
