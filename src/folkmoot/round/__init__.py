"""The round: how contributions become one new state, as arithmetic and as a pure state machine.

``layout`` says where the words of a contribution lie, ``fixed`` turns arrays into such words and back, ``plan`` deals
shards to their holders, ``commitment`` binds a contribution before it is shown, ``view`` is the round as the ledger
shows it, and ``machine`` is the protocol itself: events in, actions out, no I/O, no clock, no randomness.
"""

from folkmoot.round.view import Phase, RoundView, faults, members_of, quorum

__all__ = ["Phase", "RoundView", "faults", "members_of", "quorum"]
