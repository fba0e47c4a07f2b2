# pragma version 0.4.3
# pragma evm-version london
"""
@title MootSpec
@notice What the moot may never do, whatever stands in its storage, whoever calls it and with whatever arguments:
        arguments of `check_*` stand for all their values. In capitals: the slots of the moot's storage.
"""

interface Vm:
    def assume(holds: bool): nonpayable
    def assertTrue(holds: bool): nonpayable
    def prank(sender: address): nonpayable
    def getCode(name: String[32]) -> Bytes[30000]: nonpayable
    def load(target: address, slot: bytes32) -> bytes32: view
    def store(target: address, slot: bytes32, word: bytes32): nonpayable
    def etch(target: address, code: Bytes[30000]): nonpayable


interface Svm:
    def enableSymbolicStorage(target: address): nonpayable


VM: constant(address) = 0x7109709ECfa91a80626fF3989D68f67F5b1DD12D
SVM: constant(address) = 0xF3993A62377BCd56AE39D773740A5390411E8BC9
THE_ASSEMBLY: constant(address) = 0x00000000000000000000000000000000000a55e0

THE_MOOT: constant(address) = 0x0000000000000000000000000000000000030071
SOMEBODY: constant(address) = 0x000000000000000000000000000000000005E4D5
MEMBER: constant(uint256) = 1


@external
def setUp():
    creation: Bytes[30000] = extcall Vm(VM).getCode("out/Moot.sol/Moot.json", skip_contract_check=True)
    made: address = raw_create(creation, THE_ASSEMBLY)
    # what the constructor stored is left behind: nothing is known of the storage of the copy
    extcall Vm(VM).etch(THE_MOOT, slice(made.code, 0, MOOT_BYTES), skip_contract_check=True)
    extcall Svm(SVM).enableSymbolicStorage(THE_MOOT, skip_contract_check=True)


# ---------------------------------------------------------------- who may call what

@external
def check_nobody_but_the_assembly_decides(sender: address, a: uint256, b: uint256, c: address, d: address):
    self._assume(sender != THE_ASSEMBLY)
    self._never(sender, abi_encode(c, method_id=method_id("seat(address)")))
    self._never(sender, abi_encode(a, c, d, method_id=method_id("use(uint256,address,address)")))
    self._never(sender, abi_encode(a, method_id=method_id("remove(uint256)")))
    self._never(sender, abi_encode(a, b, method_id=method_id("steer(uint256,uint256)")))
    self._never(sender, abi_encode(a, b, method_id=method_id("bound(uint256,uint256)")))
    word: bytes32 = convert(b, bytes32)
    self._never(sender, abi_encode(a, c, word, method_id=method_id("retire(uint256,address,bytes32)")))


@external
def check_an_account_of_nobodys_does_nothing(sender: address, a: uint256, b: uint256, c: uint256, d: bytes32):
    self._assume(self._load_map(NUMBER_OF, convert(sender, uint256), 0) == 0)
    self._never(sender, abi_encode(d, d, d, a, method_id=method_id("describe(bytes32,bytes32,bytes32,uint256)")))
    self._never(
        sender, abi_encode(a, b, c, c, c, method_id=method_id("grant(uint256,uint256,uint256,uint256,uint256)"))
    )
    self._never(sender, abi_encode(a, method_id=method_id("revoke(uint256)")))
    self._never(sender, abi_encode(a, method_id=method_id("attend(uint256)")))
    self._never(sender, abi_encode(a, b, c, d, method_id=method_id("commit(uint256,uint256,uint256,bytes32)")))
    self._never(sender, abi_encode(a, b, c, method_id=method_id("retry(uint256,uint256,uint256)")))


@external
def check_only_a_main_account_grants(task: uint256, dataset: uint256, until: uint256, rounds: uint256):
    self._seat_somebody()
    self._assume(self._load(MAINS + MEMBER) != convert(SOMEBODY, uint256))
    data: Bytes[1024] = abi_encode(
        task, dataset, dataset, until, rounds, method_id=method_id("grant(uint256,uint256,uint256,uint256,uint256)")
    )
    self._never(SOMEBODY, data)


# ---------------------------------------------------------------- quorums

@external
def check_four_members_need_three_to_make_a_round_final(
    sender: address, task: uint256, round: uint256, attempt: uint256, hash: bytes32, signers: uint256, a: bytes32,
    b: bytes32, c: bytes32, d: bytes32, e: bytes32,
):
    self._assume(self._load_map(ROUNDS, task, 2) == 15)
    for size: uint256 in [0, 65, 130]:
        signatures: Bytes[195] = self._cut(concat(a, b, c, d, e, a, b), size)
        self._never(sender, self._finalise(task, round, attempt, hash, signers, signatures))


@external
def check_four_members_need_three_to_fix_survivors(
    sender: address, task: uint256, round: uint256, attempt: uint256, voters: uint256, x: uint256, y: uint256,
    a: bytes32, b: bytes32, c: bytes32, d: bytes32, e: bytes32,
):
    self._assume(self._load_map(ROUNDS, task, 2) == 15)
    holdings: DynArray[uint256, 3] = [x, y]
    signatures: Bytes[195] = self._cut(concat(a, b, c, d, e, a, b), 130)
    data: Bytes[1024] = abi_encode(
        task, round, attempt, voters, holdings, signatures,
        method_id=method_id("freeze(uint256,uint256,uint256,uint256,uint256[],bytes)"),
    )
    self._never(sender, data)


@external
def check_four_members_need_three_to_expel_one(
    sender: address, task: uint256, member: uint256, evidence: bytes32, signers: uint256, a: bytes32, b: bytes32,
    c: bytes32, d: bytes32, e: bytes32,
):
    self._assume(self._load(ROLL) == 4 and self._load(REMOVED) == 0)
    signatures: Bytes[195] = self._cut(concat(a, b, c, d, e, a, b), 130)
    data: Bytes[1024] = abi_encode(
        task, member, evidence, signers, signatures, method_id=method_id("expel(uint256,uint256,bytes32,uint256,bytes)")
    )
    self._never(sender, data)


@external
def check_a_last_round_is_final_by_members_of_its_snapshot_each_with_its_own_signature(
    sender: address, task: uint256, round: uint256, attempt: uint256, hash: bytes32, signers: uint256, a: bytes32,
    b: bytes32, c: bytes32, d: bytes32, v: uint8, w: uint8,
):
    # three members, so two of them; the round is the task's last, which spares the solver the next one's opening
    self._assume(self._load_map(ROUNDS, task, 2) == 7)
    self._assume((self._load_map(TASKS, task, 2) >> 8) & (2**24 - 1) == round)
    stage: uint256 = self._load_map(ROUNDS, task, 6)
    parent: bytes32 = convert(self._load_map(ROUNDS, task, 0), bytes32)
    survivors: uint256 = ~self._load_map(ROUNDS, task, 5)
    signatures: Bytes[195] = concat(
        a, b, slice(convert(v, bytes32), 31, 1), c, d, slice(convert(w, bytes32), 31, 1)
    )
    if not self._call(sender, self._finalise(task, round, attempt, hash, signers, signatures)):
        return
    self._claim(stage & 3 == 2)
    self._claim((stage >> 8) & (2**32 - 1) == round and (stage >> 40) & (2**32 - 1) == attempt)
    self._claim(signers == 3 or signers == 5 or signers == 6)
    statement: bytes32 = keccak256(
        abi_encode(MODEL_TYPE, task, round, attempt, parent, hash, hash, hash, survivors)
    )
    digest: bytes32 = self._digest(statement)
    first: uint256 = 1 if signers == 6 else 0
    second: uint256 = 1 if signers == 3 else 2
    self._claim(convert(ecrecover(digest, v, a, b), uint256) == self._load(ACCOUNTS + first))
    self._claim(convert(ecrecover(digest, w, c, d), uint256) == self._load(ACCOUNTS + second))


# ---------------------------------------------------------------- consent

@external
def check_nobody_commits_without_a_live_grant(task: uint256, round: uint256, attempt: uint256, hash: bytes32):
    self._seat_somebody()
    absent: uint256 = self._load_map(ROUNDS, task, 4)
    self._assume(absent | 7 == max_value(uint256))
    data: Bytes[1024] = abi_encode(
        task, round, attempt, hash, method_id=method_id("commit(uint256,uint256,uint256,bytes32)")
    )
    if self._call(SOMEBODY, data):
        self._claim_consent(task, absent)


@external
def check_nobody_is_committed_for_without_a_live_grant_and_its_signature(
    sender: address, task: uint256, round: uint256, attempt: uint256, hash: bytes32, a: bytes32, b: bytes32, v: uint8
):
    absent: uint256 = self._load_map(ROUNDS, task, 4)
    self._assume(absent | 7 == max_value(uint256))
    hashes: DynArray[bytes32, 1] = [hash]
    signature: Bytes[65] = concat(a, b, slice(convert(v, bytes32), 31, 1))
    data: Bytes[1024] = abi_encode(
        task, round, attempt, convert(1 << MEMBER, uint256), hashes, signature,
        method_id=method_id("commit_all(uint256,uint256,uint256,uint256,bytes32[],bytes)"),
    )
    if self._call(sender, data):
        self._claim_consent(task, absent)
        digest: bytes32 = self._digest(keccak256(abi_encode(COMMIT_TYPE, task, round, attempt, hash)))
        self._claim(convert(ecrecover(digest, v, a, b), uint256) == self._load(ACCOUNTS + MEMBER))


@internal
def _seat_somebody():
    # one member stands for all: none is treated otherwise than the others
    place: uint256 = self._place(NUMBER_OF, convert(SOMEBODY, uint256))
    extcall Vm(VM).store(THE_MOOT, convert(place, bytes32), convert(MEMBER + 1, bytes32), skip_contract_check=True)


@internal
def _claim_consent(task: uint256, absent: uint256):
    bit: uint256 = 1 << MEMBER
    terms: uint256 = self._load_map(TASKS, task, 2)
    stage: uint256 = self._load_map(ROUNDS, task, 6)
    self._claim(self._load_map(TASKS, task, 3) & bit != 0)
    self._claim(self._load(REMOVED) & bit == 0)
    self._claim((terms >> 168) & 3 == 1)
    self._claim(stage & 3 == 1)
    self._claim(self._load_map(ROUNDS, task, 2) & bit != 0)
    self._claim((terms >> 160) & 1 == 0 or self._load_map(ROUNDS, task, 3) & bit != 0)
    self._claim(absent & bit != 0 and self._load_map(ROUNDS, task, 4) == absent & ~bit)
    if self._load_map(TASKS, task, 4) & bit != 0 and terms >> 170 != 0:
        grant: uint256 = self._load_map(GRANTS, task, MEMBER)
        until: uint256 = (grant >> 128) & (2**48 - 1)
        last: uint256 = grant >> 176
        self._claim(until == 0 or block.timestamp < until)
        self._claim(last == 0 or (stage >> 8) & (2**32 - 1) <= last)


# ---------------------------------------------------------------- underneath

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
COMMIT_TYPE: constant(bytes32) = keccak256("Commit(uint256 task,uint256 round,uint256 attempt,bytes32 hash)")
MODEL_TYPE: constant(bytes32) = keccak256(
    "Model(uint256 task,uint256 round,uint256 attempt,bytes32 parent,bytes32 inputs,bytes32 aggregate,bytes32 model,uint256 survivors)"
)


@internal
@view
def _digest(statement: bytes32) -> bytes32:
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPE, keccak256("Folkmoot"), keccak256("1"), chain.id, THE_MOOT)
    )
    return keccak256(concat(b"\x19\x01", domain, statement))


@internal
@pure
def _finalise(
    task: uint256, round: uint256, attempt: uint256, hash: bytes32, signers: uint256, signatures: Bytes[195]
) -> Bytes[1024]:
    return abi_encode(
        task, round, attempt, hash, hash, hash, signers, signatures,
        method_id=method_id("finalise(uint256,uint256,uint256,bytes32,bytes32,bytes32,uint256,bytes)"),
    )


@internal
@pure
def _cut(data: Bytes[224], size: uint256) -> Bytes[195]:
    if size == 0:
        return b""
    if size == 65:
        return slice(data, 0, 65)
    return slice(data, 0, 130)


@internal
def _call(sender: address, data: Bytes[1024]) -> bool:
    extcall Vm(VM).prank(sender, skip_contract_check=True)
    return raw_call(THE_MOOT, data, revert_on_failure=False)


@internal
def _never(sender: address, data: Bytes[1024]):
    self._claim(not self._call(sender, data))


@internal
def _assume(holds: bool):
    extcall Vm(VM).assume(holds, skip_contract_check=True)


@internal
def _claim(holds: bool):
    extcall Vm(VM).assertTrue(holds, skip_contract_check=True)


@internal
@view
def _load(slot: uint256) -> uint256:
    word: bytes32 = staticcall Vm(VM).load(THE_MOOT, convert(slot, bytes32), skip_contract_check=True)
    return convert(word, uint256)


@internal
@view
def _load_map(slot: uint256, key: uint256, word: uint256) -> uint256:
    return self._load(unsafe_add(self._place(slot, key), word))


@internal
@pure
def _place(slot: uint256, key: uint256) -> uint256:
    return convert(keccak256(concat(convert(slot, bytes32), convert(key, bytes32))), uint256)
