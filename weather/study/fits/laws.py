"""The forms that a scaling law may have, and what each says about the best use of a budget.

N is the number of parameters, D the number of samples seen, C the FLOPs of the training, and C = k N D with k FLOPs for
each parameter and sample. Losses are in the units of the loss that was fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from weather.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """The best use of a budget: parameters, samples seen, and the loss that they reach."""

    parameters: float
    samples: float
    loss: float


@dataclass(frozen=True)
class PowerLaw:
    """y = offset + coefficient * x ** exponent."""

    coefficient: float
    exponent: float
    offset: float = 0.0

    def __call__(self, x: ArrayLike) -> Array:
        return self.offset + self.coefficient * np.asarray(x, float) ** self.exponent


@dataclass(frozen=True)
class LossLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, arXiv 2203.15556, equation 10).

    Attributes:
        irreducible: E, the loss that no model and no amount of data goes below.
        model_coefficient, model_exponent: A and alpha, what a model of finite size adds.
        data_coefficient, data_exponent: B and beta, what finite training adds.
    """

    irreducible: float
    model_coefficient: float
    data_coefficient: float
    model_exponent: float
    data_exponent: float

    def loss(self, parameters: ArrayLike, samples: ArrayLike) -> Array:
        """The loss of models of N parameters after D samples; the shapes broadcast."""
        model = self.model_coefficient * np.asarray(parameters, float) ** -self.model_exponent
        data = self.data_coefficient * np.asarray(samples, float) ** -self.data_exponent
        return np.asarray(self.irreducible + model + data)

    def check_falls(self) -> None:
        """Refuse a law by which more parameters, or more samples, do not help.

        Raises:
            DataError: a coefficient or an exponent of N or of D is not positive.
        """
        terms = {
            "N": (self.model_coefficient, self.model_exponent, "larger and smaller models"),
            "D": (self.data_coefficient, self.data_exponent, "longer and shorter runs"),
        }
        for name, (coefficient, exponent, wanted) in terms.items():
            if not (coefficient > 0 and exponent > 0):
                raise DataError(
                    f"by the fitted law the loss does not fall with {name} "
                    f"(coefficient {coefficient:.3g}, exponent {exponent:.3g})",
                    rule="a best size exists only where more parameters and more samples both help",
                    fix=f"add {wanted}, and look for runs that diverged, overfitted or had a poor learning rate",
                )

    @property
    def parameter_exponent(self) -> float:
        """a in N_opt ~ C^a; D_opt ~ C^(1 - a)."""
        return self.data_exponent / (self.model_exponent + self.data_exponent)

    def optimum(self, flops: float, flops_per_product: float) -> Optimum:
        """The least loss for a budget, in closed form (Hoffmann et al. 2022, equation 4).

        Args:
            flops: C.
            flops_per_product: k in C = k N D.

        Raises:
            DataError: the loss does not fall with N, or not with D, so that no budget has a best size.
        """
        self.check_falls()
        alpha, beta = self.model_exponent, self.data_exponent
        balance = (alpha * self.model_coefficient / (beta * self.data_coefficient)) ** (1 / (alpha + beta))
        product = flops / flops_per_product
        parameters = balance * product ** (beta / (alpha + beta))
        samples = product / parameters
        return Optimum(parameters, samples, float(self.loss(parameters, samples)))


@dataclass(frozen=True)
class RepeatedDataLaw:
    """L(N, D, U) where only U different samples exist, and D > U repeats them.

    Muennighoff et al. 2023, arXiv 2305.16264. Samples seen again, and parameters beyond what U samples can use, count
    less and less: with R repetitions, x' = x (1 + R* (1 - exp(-R / R*))) takes the place of x (1 + R).

    Attributes:
        law: the law of data that do not repeat.
        data_repetitions: R*_D, the number of repetitions after which a further one is worth 1/e of a new one.
        model_excess: R*_N, the same of parameters.
    """

    law: LossLaw
    data_repetitions: float
    model_excess: float

    def useful_parameters(self, unique: ArrayLike) -> Array:
        """Size of the model that U samples, each seen once, serve best: compute-optimal where D = U."""
        alpha, beta = self.law.model_exponent, self.law.data_exponent
        ratio = alpha * self.law.model_coefficient / (beta * self.law.data_coefficient)
        # Along the optimum alpha A / N^alpha = beta B / D^beta.
        return np.asarray((ratio * np.asarray(unique, float) ** beta) ** (1 / alpha))

    def loss(self, parameters: ArrayLike, samples: ArrayLike, unique: ArrayLike) -> Array:
        """The loss of models of N parameters after D samples, of which U differ; the shapes broadcast."""
        parameters, samples = np.asarray(parameters, float), np.asarray(samples, float)
        seen = np.minimum(samples, unique)
        useful = np.minimum(parameters, self.useful_parameters(seen))
        return self.law.loss(
            _worth(parameters, useful, self.model_excess), _worth(samples, seen, self.data_repetitions)
        )

    def optimum(self, flops: float, flops_per_product: float, unique: float) -> Optimum:
        """The least loss for a budget with U different samples.

        Args:
            flops: C.
            flops_per_product: k in C = k N D.
            unique: U.
        """
        product = flops / flops_per_product
        start = np.log(self.law.optimum(flops, flops_per_product).parameters)
        # With repeated data the best model is never larger, and not smaller by orders of magnitude.
        found = minimize_scalar(
            lambda log_n: float(self.loss(np.exp(log_n), product / np.exp(log_n), unique)),
            bounds=(start - 10.0, start + 1.0),
            method="bounded",
            options={"xatol": 1e-10},
        )
        parameters = float(np.exp(found.x))
        return Optimum(parameters, product / parameters, float(found.fun))


def _worth(amount: Array, once: Array, scale: float) -> Array:
    repetitions = amount / once - 1
    return np.asarray(once * (1 + scale * -np.expm1(-repetitions / scale)))
