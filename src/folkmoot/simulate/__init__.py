"""A whole moot in one process, liars included: ``rounds`` runs any task with the arithmetic of a real round, and
``attacks`` holds what liars may do to it. No network, no ledger, no masks: what is left is what decides accuracy."""

from folkmoot.simulate.attacks import ATTACKS, Attack, Sight
from folkmoot.simulate.rounds import rounds, simulate

__all__ = ["ATTACKS", "Attack", "Sight", "rounds", "simulate"]
