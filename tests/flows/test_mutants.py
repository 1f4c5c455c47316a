"""Tests of the tests: programs broken on purpose, as known ones are, must be caught."""

import math

import pytest
import torch

from maf_runner.flows import inversion, made, mixture
from maf_runner.flows.autoregressive import AffineAutoregressive
from maf_runner.flows.batchnorm import BatchNorm
from maf_runner.flows.mixture import MADEMoG
from tests.experiment import test_evaluation
from tests.flows import test_inversion, test_models


def caught(*tests):
    for test, arguments in tests:
        torch.manual_seed(0)
        with pytest.raises(AssertionError):
            test(*arguments)


def test_a_mask_off_by_one(monkeypatch):
    off = lambda hidden, outputs: hidden[None, :] <= outputs[:, None]  # noqa: E731
    monkeypatch.setattr(made, "output_mask", off)
    caught(
        (test_models.test_autoregressive, ["made"]),
        (test_models.test_integrates_to_one, ["made", 0]),
    )


def test_a_random_output_order(monkeypatch):
    """As in a known program: outputs in an order of their own, and the "likelihood" improves."""

    def mutant(hidden, outputs):
        return hidden[None, :] < outputs[torch.tensor([1, 0, *range(2, len(outputs))])][:, None]

    monkeypatch.setattr(made, "output_mask", mutant)
    caught(
        (test_models.test_autoregressive, ["maf"]),
        (test_models.test_integrates_to_one, ["made", 0]),
    )


def test_a_forgotten_log_det(monkeypatch):
    right = AffineAutoregressive._forward

    def mutant(self, x, context):
        u, log_det = right(self, x, context)
        return u, torch.zeros_like(log_det)

    monkeypatch.setattr(AffineAutoregressive, "_forward", mutant)
    caught(
        (test_models.test_log_det_agrees_with_autodiff, ["made", 0]),
        (test_models.test_round_trip, ["made", 0]),
        (test_models.test_integrates_to_one, ["maf", 0]),
        (test_models.test_samples_follow_the_density, ["made", 0]),
    )


def test_batch_statistics_in_evaluation(monkeypatch):
    right = BatchNorm._forward

    def mutant(self, x, context):
        self.training = True
        result = right(self, x, context)
        self.training = False
        return result

    monkeypatch.setattr(BatchNorm, "_forward", mutant)
    caught((test_models.test_row_does_not_depend_on_its_batch, ["realnvp", 0]))


def test_a_variance_of_n_minus_one(monkeypatch):
    right = BatchNorm._forward

    def mutant(self, x, context):
        u, log_det = right(self, x, context)
        if not self.training:
            return u, log_det
        shrink = math.sqrt(1 - 1 / len(x))
        return self.beta + shrink * (u - self.beta), log_det + self.features * math.log(shrink)

    monkeypatch.setattr(BatchNorm, "_forward", mutant)
    caught((test_models.test_batch_norm_after_refreshing_is_training_mode, []))


def test_mixture_weights_not_normalised(monkeypatch):
    right = MADEMoG.forward

    def mutant(self, x, context=None):
        logit = self.network(x, context).unflatten(1, (3, self.components))[:, 2]
        return right(self, x, context) + torch.logsumexp(logit, dim=1).sum(dim=1)

    monkeypatch.setattr(MADEMoG, "forward", mutant)
    caught((test_models.test_integrates_to_one, ["made-mog", 0]))


def test_a_block_that_forgets_what_came_before(monkeypatch):
    right = inversion._Generation._bring_in

    def mutant(self, layer, units, known):
        return right(self, layer, units, slice(known.start, known.start))

    monkeypatch.setattr(inversion, "UNITS", 4)
    monkeypatch.setattr(inversion._Generation, "_bring_in", mutant)
    mixtures = test_inversion.test_samples_of_a_mixture_equal_step_by_step
    caught(
        (test_models.test_round_trip, ["made", 0]),
        (mixtures, [as_they_are, "made-mog", 0, 9, 8]),
    )


def as_they_are(units, trim):
    """In the place of the fixture that sets the sizes of blocks, and counts them."""
    return []


def test_a_mixture_that_begins_its_draws_anew_in_each_block(monkeypatch):
    right = mixture.generate

    def mutant(network, rows, emitter, context=None):
        anew = lambda p, v, block: emitter(p, v, slice(0, block.stop - block.start))  # noqa: E731
        return right(network, rows, anew, context)

    monkeypatch.setattr(inversion, "UNITS", 4)
    monkeypatch.setattr(mixture, "generate", mutant)
    mixtures = test_inversion.test_samples_of_a_mixture_equal_step_by_step
    caught((mixtures, [as_they_are, "made-mog", 0, 9, 8]))


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_a_wrong_class_prior(monkeypatch, error):
    mutant = lambda log_probs: torch.logsumexp(log_probs, dim=1) - error  # noqa: E731
    monkeypatch.setattr(test_evaluation, "class_marginal", mutant)
    caught((test_evaluation.test_class_marginal_is_a_density, []))
