"""Provider to log: producing answers, detached from every connection."""

from tickertape.generation.generation import DAMAGED, LOST, OPENING, Generation, Order
from tickertape.generation.generations import Generations
from tickertape.generation.limits import Limits

__all__ = ["DAMAGED", "LOST", "OPENING", "Generation", "Generations", "Limits", "Order"]
