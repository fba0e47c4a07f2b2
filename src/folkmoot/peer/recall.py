"""Does this peer's memory fit what the ledger shows of its member?

The journal keeps mask seeds from being told for two sets of survivors. Where it was deleted, or an older copy of it was
put back, this peer does not know what it has told; and where the same identity runs on two machines, neither knows what
the other tells. So such a peer keeps silent in the rounds concerned, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot.ledger.records import Phase, TaskRecord
from folkmoot.peer.context import PeerContext
from folkmoot.peer.durable import replace
from folkmoot.round.commitment import commit_hash, contribution_root, seat_of
from folkmoot.round.events import Key
from folkmoot.round.view import RoundView, members_of

__all__ = ["Presence", "is_foreign", "recall"]

_LOST = "was lost, and is begun anew"
_OLD = "is older than what this member has done since"


async def recall(peer: PeerContext) -> None:
    """Compare the journal with the ledger, before anything else is done. Of the secret attempts under way nothing is
    told where it was lost or is too old."""
    tasks = await peer.ledger(peer.moot.tasks)
    committed, missing = await _commits(peer, tasks)
    lost = peer.journal.new and (committed or peer.home.journal_mark.exists())
    if peer.journal.new:
        replace(peer.home.journal_mark, b"A journal was begun here; where there is none, it was lost.\n", mode=0o600)
    if not lost and not missing:
        return
    what = f"the journal {peer.journal.path} {_LOST if lost else _OLD}"
    peer.complain(
        f"{what}; what was spent of this member's datasets is counted from the ledger",
        kind="journal",
        about="journal",
    )
    for record in tasks:
        view = await peer.ledger(peer.moot.round_view, record.id)
        key = Key(record.id, view.round, view.attempt)
        if record.sealed and view.phase in (Phase.COMMIT, Phase.FROZEN) and view.dealt >> peer.index & 1:
            peer.journal.sit_out(key)
            peer.complain(
                f"{what}: this peer cannot know which mask seeds it has told, and sits out round {key.round} of task"
                f" {key.task}, which is under way",
                kind="journal",
                about=sitting_out(key.task),
                task=key.task,
            )


def sitting_out(task: int) -> str:
    """What the complaint is about that a peer sits out a round of ``task``."""
    return f"journal, task {task}"


async def _commits(peer: PeerContext, tasks: Sequence[TaskRecord]) -> tuple[bool, set[Key]]:
    """Whether this member has ever committed, and which of its commits the journal does not know."""
    committed, missing = False, peer.forgotten
    for record in tasks:
        for commit in await peer.ledger(peer.moot.commits_log, record.id):
            if commit.member == peer.index:
                committed, key = True, Key(record.id, commit.round, commit.attempt)
                if not peer.journal.knows(key):
                    missing.add(key)
    return committed, missing


def is_foreign(peer: PeerContext, view: RoundView) -> bool:
    """Whether this member has a commit in the attempt under way that was not made here since this peer started."""
    key = Key(view.task, view.round, view.attempt)
    if view.phase is not Phase.COMMIT or not view.committed >> peer.index & 1 or key in peer.forgotten:
        return False
    own = peer.journal.own(key)
    if own is None:
        return not peer.journal.knows(key)
    reveal, _ = own
    hash = commit_hash(reveal.salt, seat_of(peer.index), *key, contribution_root(reveal.shards))
    return view.commits[members_of(view.committed).index(peer.index)] != hash


class Presence:
    """Where this peer has said that it is. Once its own word stands on the ledger, another one there is another's."""

    def __init__(self) -> None:
        self._said: set[tuple[str, ...]] = set()
        self._stood = False

    def says(self, addresses: tuple[str, ...]) -> None:
        """Note what this peer says, or would say."""
        self._said.add(addresses)

    def is_foreign(self, addresses: tuple[str, ...]) -> bool:
        """Whether these addresses on the ledger are another's word, under the same identity."""
        if addresses in self._said:
            self._stood = True
            return False
        return self._stood
