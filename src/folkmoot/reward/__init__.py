"""Rewards: who gets how much of a task's bounty, from what every member can recompute. No I/O, clock or randomness.

``effects`` is what one member finds the groups of a round worth on its own held-out data, ``wire`` the integers that it
publishes of that, ``scores`` what all members' words over many rounds say of each member, ``availability`` what the
ledger says of who was there, and ``split`` turns both into whole units that add up. All but ``effects`` is plain Python
without NumPy, which only workers import.
"""

from folkmoot.reward.availability import Service, availability
from folkmoot.reward.scores import Scored, agreed, member_scores, scored, scoring_groups
from folkmoot.reward.split import AVAILABILITY, MILLION, season, split
from folkmoot.reward.wire import decode_effects, encode_effects

__all__ = [
    "AVAILABILITY",
    "MILLION",
    "Scored",
    "Service",
    "agreed",
    "availability",
    "decode_effects",
    "encode_effects",
    "member_scores",
    "scored",
    "scoring_groups",
    "season",
    "split",
]
