"""What holds for all arguments, all callers and all of a contract's storage, by symbolic execution of its bytecode.

Quorums are proved for moots of four (and three), consent for one member that stands for all; ``ledger`` has the
numbers beside them. Of the purse nothing is proved here: its division is more than the solvers take.
"""

from __future__ import annotations

import re
from pathlib import Path

import proofs
import pytest

from folkmoot.ledger import build

pytestmark = pytest.mark.long
CHECKS = [
    (spec, check)
    for spec in ("MootSpec", "AssemblySpec")
    for check in re.findall(r"^def (check_\w+)", (proofs.HERE / f"{spec}.vy").read_text(), re.M)
]


@pytest.mark.parametrize(("spec", "check"), CHECKS, ids=[check.removeprefix("check_") for _, check in CHECKS])
def test_it_holds_whatever_is_stored_and_whatever_is_called(spec: str, check: str, tmp_path: Path) -> None:
    assert proofs.Project(tmp_path, spec).run(check) == "PASS"


@pytest.mark.parametrize(
    ("spec", "check", "line"),
    [
        ("MootSpec", "nobody_but_the_assembly_decides", "assert msg.sender == ASSEMBLY"),
        ("MootSpec", "four_members_need_three_to_make_a_round_final", "assert count >= (n + (n - 1) // 3) // 2 + 1"),
        ("MootSpec", "four_members_need_three_to_fix_survivors", "assert count >= (n + (n - 1) // 3) // 2 + 1"),
        ("MootSpec", "four_members_need_three_to_expel_one", "assert count >= (n + (n - 1) // 3) // 2 + 1"),
        ("MootSpec", "nobody_commits_without_a_live_grant", "assert members & ~self._tasks[task].granted == 0"),
        ("MootSpec", "nobody_commits_without_a_live_grant", "assert self._lapsed(task, members, round) == 0"),
        ("AssemblySpec", "a_member_votes_once", "assert ((ayes | noes) >> index) & 1 == 0"),
        ("AssemblySpec", "a_voucher_admits_once", "self._usable[voucher] = SPENT"),
        (
            "AssemblySpec",
            "a_motion_is_enacted_once_in_time_and_with_more_than_its_share",
            "assert self._passes(kind, ayes)",
        ),
        (
            "AssemblySpec",
            "an_account_is_delegated_to_by_its_own_word",
            "assert self._signer(statement, consent) == account",
        ),
    ],
)
def test_a_proof_fails_where_the_line_that_it_rests_on_is_taken_out(
    spec: str, check: str, line: str, tmp_path: Path
) -> None:
    sources = [build.source_of(name).read_text() for name in ("Moot", "Assembly")]
    assert sum(source.count(line) for source in sources) == 1
    project = proofs.Project(tmp_path, spec, lambda source: re.sub(rf"{re.escape(line)}.*", "pass", source))
    assert project.run(f"check_{check}") == "FAIL"
