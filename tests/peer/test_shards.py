"""More members than gather everything: each shard of a contribution goes to three of ten peers."""

from pathlib import Path

import rig

from folkmoot.round.commitment import decode_inputs

ROUNDS = 3


def test_ten_peers_train_in_shards_and_all_their_blobs_together_replay(tmp_path: Path) -> None:
    names = [f"peer{at}" for at in range(10)]
    windows = {"train_seconds": 20, "exchange_seconds": 20, "final_seconds": 20}
    source = rig.tiny_task(tmp_path / "task.py", rounds=ROUNDS, start_members=10, size=1_000, **windows)
    with rig.moot(tmp_path / "moot", names) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, names))
        model = moot.finish(task)
        finals = moot.finals(task)
        moot.filled(task)
        store = moot.homes["peer3"].store()
        reveals = decode_inputs(store.get(finals[0].inputs))
        assert all(len(reveal.shards) == 10 for reveal in reveals.values())

        whole = moot.verify(*names)
        assert (whole.rounds, whole.models, whole.notes) == (ROUNDS, {task: model}, [])
        alone = moot.verify("peer3")
        assert (alone.rounds, alone.models) == (ROUNDS, {task: model})
        assert "was taken from its sum; its contributions are on other members' disks" in alone.notes[0]
