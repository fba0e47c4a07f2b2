# pragma version 0.4.3
# pragma evm-version london
# pragma optimize codesize
"""
@title Moot
@license Apache-2.0
@notice One moot's work: its members' datasets and grants, the tasks they train together, and the rounds of
        those tasks. It decides sets, order and deadlines; data, updates and models never come here.
        Who is a member, and what all decide together, comes from one other contract, `Assembly.vy`.
@dev A set of members is a bitmap: bit i stands for member i, and at most 256 can join. Everything a call
     does is bounded by that number. No one keeps a privilege: the deployer becomes member 0 by the same
     internal function as everyone else. Only opcodes of London are used, so that any chain since
     then can run it. `block.prevrandao` is never read: consortium chains leave it constant.
     Slots that every round rewrites hold complements (`absent`, `fallen`), so that they are never zero, which
     would cost four times as much to leave again. Commits stand in events only: whoever needs them reads
     those, and a slot for each would cost more than all else of a round.
     Signatures are read from the calldata where they lie: copied into memory, room for 256 of them would be
     paid for by every moot of three.
"""

# ---------------------------------------------------------------- bounds

MAX_MEMBERS: constant(uint256) = 256
MAX_SIGNATURES: constant(uint256) = 65 * 256
PAGE: constant(uint256) = 32
MAX_SECONDS: constant(uint256) = 7 * 86_400
MAX_ROUNDS: constant(uint256) = 1_000_000
MAX_DOUBLINGS: constant(uint256) = 6
MAX_PROPOSED: constant(uint256) = 8
MOVED: constant(uint256) = 2**16

# phases, as `folkmoot.ledger.records.Phase` numbers them
GATHERING: constant(uint256) = 0
COMMIT: constant(uint256) = 1
FROZEN: constant(uint256) = 2
DONE: constant(uint256) = 3

# what the members have decided on a task, as `folkmoot.ledger.records.Standing` numbers it
PROPOSED: constant(uint256) = 0
ADOPTED: constant(uint256) = 1
PAUSED: constant(uint256) = 2
STOPPED: constant(uint256) = 3

# ---------------------------------------------------------------- statements, EIP-712

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Folkmoot")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
COMMIT_TYPE: constant(bytes32) = keccak256("Commit(uint256 task,uint256 round,uint256 attempt,bytes32 hash)")
HOLDING_TYPE: constant(bytes32) = keccak256(
    "Holding(uint256 task,uint256 round,uint256 attempt,uint256 contributors)"
)
OPENING_TYPE: constant(bytes32) = keccak256(
    "Opening(uint256 task,uint256 round,uint256 attempt,uint256 survivors,uint256 opened)"
)
MODEL_TYPE: constant(bytes32) = keccak256(
    "Model(uint256 task,uint256 round,uint256 attempt,bytes32 parent,bytes32 inputs,bytes32 aggregate,bytes32 model,uint256 survivors)"
)
EXPULSION_TYPE: constant(bytes32) = keccak256("Expulsion(uint256 task,uint256 member,bytes32 evidence)")
# half the order of secp256k1: a signature with a larger s is the mirror image of one with a smaller
HALF_ORDER: constant(bytes32) = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

# masks for counting bits: the lower half of every field of 2, 4, 8, 16 bits; the lowest bit of each of 16
ONES_OF_2: constant(uint256) = max_value(uint256) // 3
ONES_OF_4: constant(uint256) = max_value(uint256) // 5
ONES_OF_8: constant(uint256) = max_value(uint256) // 17
ONES_OF_16: constant(uint256) = max_value(uint256) // 257
LOWEST_OF_16: constant(uint256) = max_value(uint256) // 65_535

# ---------------------------------------------------------------- what is kept

struct Dataset:
    owner: uint256
    card: bytes32
    schema: bytes32
    conditions: bytes32
    records: uint256


struct Terms:
    rounds: uint256
    min_members: uint256
    start_members: uint256
    train_seconds: uint256
    exchange_seconds: uint256
    final_seconds: uint256
    sealed: uint256  # 1: an attempt is open only to those expected when it opened


struct Task:
    id: uint256
    proposer: uint256
    bundle: bytes32
    genesis: bytes32
    terms: Terms
    standing: uint256
    granted: uint256
    barred: uint256


struct RoundView:
    round: uint256
    attempt: uint256
    phase: uint256
    parent: bytes32
    beacon: bytes32
    members: uint256
    expected: uint256
    dealt: uint256
    committed: uint256
    survivors: uint256
    commit_deadline: uint256
    closed_at: uint256
    final_deadline: uint256
    min_members: uint256
    exchange_seconds: uint256
    opened: uint256
    standing: uint256
    first_survivors: uint256
    shut: uint256


# where a task's round stands, unpacked from one word
struct Stage:
    phase: uint256
    shut: uint256  # 1: an attempt at this round was sealed and frozen, so nobody new comes in until it is final
    shrunk: uint256  # 1: this attempt goes on with fewer survivors than it was frozen with
    round: uint256
    attempt: uint256
    commit_deadline: uint256
    closed_at: uint256
    final_deadline: uint256
    opened: uint256


# records in the low 64 bits, owner above them
struct DatasetSlots:
    card: bytes32
    schema: bytes32
    conditions: bytes32
    word: uint256


# terms, from the low end: proposer 8 bits, rounds 24, min_members 16, start_members 16, then
# train_seconds, exchange_seconds, final_seconds 32 each, sealed 1; standing 2 from bit 168, and one bit once a grant was bounded
struct TaskSlots:
    bundle: bytes32
    genesis: bytes32
    terms: uint256
    granted: uint256
    bounded: uint256  # whose grant ends by itself
    coming: uint256
    barred: uint256


# stage, from the low end: phase 2 bits, shut 1, shrunk 1, from bit 8 round 32, attempt 32, then commit_deadline, closed_at,
# final_deadline 48 each, the block it opened in 40; every attempt overwrites all slots, so a round costs no
# new storage
struct RoundSlots:
    parent: bytes32
    beacon: bytes32
    members: uint256
    expected: uint256
    absent: uint256  # all bits but those of whom has committed
    fallen: uint256  # all bits but those of survivors
    stage: uint256
    first: uint256  # once it was shrunk: the survivors that this attempt was frozen with


ASSEMBLY: immutable(address)
BORN: immutable(uint256)

_roll: uint256  # the number of members there ever were; bit 16 once the moot has moved
_number_of: HashMap[address, uint256]  # index + 1; 0: not a member
_accounts: address[MAX_MEMBERS]  # in daily use: signs statements and most transactions
_mains: address[MAX_MEMBERS]  # consents, and replaces the other; the same unless the member delegates
_removed: uint256
_floor: uint256  # the fewest min_members of a task; above 16 bits, whether it must be sealed

_dataset_count: uint256
_datasets: HashMap[uint256, DatasetSlots]

_task_count: uint256
_proposed: uint256[MAX_MEMBERS]  # of each member the last tasks that it proposed and that were not decided on then, 32 bits each
_tasks: HashMap[uint256, TaskSlots]
# grants, from the low end: dataset 64 bits, limit 64, until 48, last round 32
_grants: HashMap[uint256, uint256[MAX_MEMBERS]]
_rounds: HashMap[uint256, RoundSlots]

# ---------------------------------------------------------------- events

event Seated:
    member: indexed(uint256)
    account: indexed(address)
    main: indexed(address)


event Removed:
    member: indexed(uint256)


event Bounded:
    min_members: uint256
    sealed: uint256


event Retired:
    chain_id: uint256
    successor: address
    state: bytes32


event Described:
    dataset: indexed(uint256)
    owner: indexed(uint256)
    card: bytes32
    schema: bytes32
    conditions: bytes32
    records: uint256


event Proposed:
    task: indexed(uint256)
    proposer: indexed(uint256)
    bundle: bytes32
    genesis: bytes32
    terms: Terms


event Steered:
    task: indexed(uint256)
    standing: uint256


event Granted:
    task: indexed(uint256)
    member: indexed(uint256)
    dataset: uint256
    limit: uint256
    until: uint256
    last: uint256


event Revoked:
    task: indexed(uint256)
    member: indexed(uint256)
    dataset: uint256


event Expelled:
    task: indexed(uint256)
    member: indexed(uint256)
    evidence: bytes32
    signers: uint256
    signatures: Bytes[MAX_SIGNATURES]


event Attending:
    task: indexed(uint256)
    member: indexed(uint256)


event Committed:
    task: indexed(uint256)
    round: indexed(uint256)
    attempt: uint256
    members: uint256
    hashes: DynArray[bytes32, MAX_MEMBERS]


event Retried:
    task: indexed(uint256)
    round: indexed(uint256)
    attempt: uint256


event Finalised:
    task: indexed(uint256)
    round: indexed(uint256)
    attempt: uint256
    parent: bytes32
    inputs: bytes32
    aggregate: bytes32
    model: bytes32
    survivors: uint256
    members: uint256
    dealt: uint256
    first_survivors: uint256
    signers: uint256
    time: uint256
    signatures: Bytes[MAX_SIGNATURES]


# ---------------------------------------------------------------- what the assembly decides

@deploy
def __init__(assembly: address):
    """
    @notice Found a moot. The sender becomes member 0, and keeps no other privilege.
    @param assembly The contract of its members: what comes from there is their decision. It is deployed next, by
           the same sender, so its address is known.
    """
    ASSEMBLY = assembly
    BORN = block.number
    self._roll = 1
    self._use(0, msg.sender, msg.sender)


@external
def seat(account: address) -> uint256:
    """
    @notice Give a new member its number.
    @param account Its account.
    @return Its index.
    """
    self._decided()
    index: uint256 = self._roll
    assert index < MOVED, "the moot has moved"
    assert index < MAX_MEMBERS, "moot is full"
    self._roll = index + 1
    self._use(index, account, account)
    return index


@external
def use(member: uint256, account: address, main: address):
    """
    @notice Put other accounts of a member in use, at once; those before count for nothing more.
    @param member Index of the member.
    @param account Signs statements and transactions from now on.
    @param main Also consents; may be the same.
    """
    self._decided()
    assert self._is_living(member), "no such member"
    # both accounts of before first: either of them may be among the new ones
    self._number_of[self._mains[member]] = 0
    self._number_of[self._accounts[member]] = 0
    self._use(member, account, main)


@internal
def _use(index: uint256, account: address, main: address):
    assert account != empty(address) and main != empty(address), "account is empty"
    assert self._number_of[main] == 0 and self._number_of[account] == 0, "already a member"
    self._number_of[main] = index + 1
    self._number_of[account] = index + 1
    self._accounts[index] = account
    self._mains[index] = main
    log Seated(member=index, account=account, main=main)


@external
def remove(member: uint256):
    """
    @notice Put a member out of the moot. Its accounts can do nothing more, and no later round has a place for it;
            in a round under way its signed statements still count.
    @param member Index of the member.
    """
    self._decided()
    assert self._is_living(member), "no such member"
    self._removed |= 1 << member
    self._number_of[self._mains[member]] = 0
    self._number_of[self._accounts[member]] = 0
    log Removed(member=member)


@external
def steer(task: uint256, standing: uint256):
    """
    @notice Adopt a proposed task, pause it (no commits are taken; what is committed goes on), let it go on, or
            stop it for good: its last final round is then its end.
    @param task The task.
    @param standing 1: adopted, 2: paused, 3: stopped.
    """
    self._decided()
    self._steer(task, standing)


@external
def withdraw(task: uint256):
    """
    @notice Take back a task that the sender has proposed, while it is neither adopted nor stopped.
    @param task The task.
    """
    assert self._tasks[task].terms & 255 == self._sender(), "not your task"
    assert self._standing(task) == PROPOSED, "it is decided on"
    self._steer(task, STOPPED)


@internal
def _steer(task: uint256, standing: uint256):
    terms: Terms = self._terms(task)
    before: uint256 = self._standing(task)
    stage: Stage = self._stage(task)
    assert stage.phase != DONE and before != STOPPED, "task is done"
    assert standing <= STOPPED and standing > 0 and standing != before, "standing does not change so"
    assert standing != PAUSED or before == ADOPTED, "standing does not change so"
    self._tasks[task].terms = (self._tasks[task].terms & ~(3 << 168)) | (standing << 168)
    log Steered(task=task, standing=standing)
    if standing == STOPPED:
        stage.phase = DONE
        stage.shrunk = 0
        stage.round = max(stage.round, 1) - 1
        self._put_stage(task, stage)
        # what was committed belongs to no round any more
        self._rounds[task].absent = max_value(uint256)
        self._rounds[task].fallen = max_value(uint256)
    elif standing == ADOPTED:
        if stage.phase == GATHERING:
            self._start(task, terms)
        elif stage.phase == COMMIT and (
            not self._is_closed(task, stage, terms) or self._rounds[task].members & self._removed != 0
        ):
            # what passed of its window while nothing could be committed is not to count; and commits that are closed
            # may wait for the word of more removed members than a quorum can do without
            self._again(task, stage, self._rounds[task].expected, terms)


@external
def bound(min_members: uint256, sealed: uint256):
    """
    @notice Set what tasks proposed from now on must at least promise.
    @param min_members The fewest that a round of theirs may count, up to 256.
    @param sealed 1: they must be sealed.
    """
    self._decided()
    assert min_members <= MAX_MEMBERS and sealed <= 1, "limits out of bounds"
    self._floor = min_members | (sealed << 16)
    log Bounded(min_members=min_members, sealed=sealed)


@external
def retire(chain_id: uint256, successor: address, state: bytes32):
    """
    @notice End this moot in favour of another one. Rounds under way may still become final; none opens after them.
    @param chain_id The chain of the successor.
    @param successor Its contract there.
    @param state Hash of what of this moot it takes over: its heritage.
    """
    self._decided()
    assert self._roll < MOVED, "the moot has moved"
    self._roll |= MOVED
    log Retired(chain_id=chain_id, successor=successor, state=state)


@internal
@view
def _decided():
    assert msg.sender == ASSEMBLY, "only the assembly decides that"


@internal
@view
def _is_living(member: uint256) -> bool:
    return member < self._roll & (MOVED - 1) and (self._removed >> member) & 1 == 0


@internal
@view
def _living() -> uint256:
    return (max_value(uint256) >> (MAX_MEMBERS - (self._roll & (MOVED - 1)))) & ~self._removed


# ---------------------------------------------------------------- datasets, tasks, consent

@external
def describe(card: bytes32, schema: bytes32, conditions: bytes32, records: uint256) -> uint256:
    """
    @notice Describe a dataset the sender keeps.
    @param card Hash of its description.
    @param schema Hash of what its records look like, names and types of fields.
    @param conditions Hash of what its owner asks of whoever trains on it.
    @param records How many records, as coarse as its owner likes; below 2**64.
    @return Its id, from 1.
    """
    owner: uint256 = self._sender()
    assert records < 2**64, "records out of bounds"
    dataset: uint256 = self._dataset_count + 1
    self._dataset_count = dataset
    self._datasets[dataset] = DatasetSlots(
        card=card, schema=schema, conditions=conditions, word=(owner << 64) | records
    )
    log Described(
        dataset=dataset, owner=owner, card=card, schema=schema, conditions=conditions, records=records
    )
    return dataset


@external
def propose(bundle: bytes32, genesis: bytes32, terms: Terms) -> uint256:
    """
    @notice Propose a task. It binds no one: the members adopt it, and each grants for itself. Eight tasks of a member's
            may be proposed at a time; `withdraw` makes room.
    @param bundle Hash of the task's code and policy.
    @param genesis Hash of the state its first round starts from.
    @param terms The numbers of its policy that this contract enforces.
    @return Its id, from 1.
    """
    proposer: uint256 = self._sender()
    assert bundle != empty(bytes32) and genesis != empty(bytes32), "hash is empty"
    assert 0 < terms.rounds and terms.rounds <= MAX_ROUNDS, "rounds out of bounds"
    assert (
        0 < terms.min_members and terms.min_members <= terms.start_members and terms.start_members <= MAX_MEMBERS
    ), "members out of bounds"
    for seconds: uint256 in [terms.train_seconds, terms.exchange_seconds, terms.final_seconds]:
        assert 0 < seconds and seconds <= MAX_SECONDS, "seconds out of bounds"
    assert terms.sealed <= 1, "sealed is 0 or 1"
    assert terms.min_members >= self._floor & 65_535, "fewer members than the moot allows"
    assert terms.sealed >= self._floor >> 16, "the moot allows sealed tasks only"
    assert self._roll < MOVED, "the moot has moved"
    task: uint256 = self._task_count + 1
    self._task_count = task
    # everyone reads what is proposed: nobody may fill it alone
    places: uint256 = self._proposed[proposer]
    at: uint256 = 0
    for i: uint256 in range(MAX_PROPOSED):
        before: uint256 = (places >> at) & (2**32 - 1)
        if before == 0 or self._standing(before) != PROPOSED:
            break
        at += 32
    assert at < 256, "too many proposals of this member"
    self._proposed[proposer] = (places & ~((2**32 - 1) << at)) | (task << at)
    self._tasks[task].bundle = bundle
    self._tasks[task].genesis = genesis
    self._tasks[task].terms = (
        proposer
        | (terms.rounds << 8)
        | (terms.min_members << 32)
        | (terms.start_members << 48)
        | (terms.train_seconds << 64)
        | (terms.exchange_seconds << 96)
        | (terms.final_seconds << 128)
        | (terms.sealed << 160)
    )
    self._rounds[task].parent = genesis
    log Proposed(task=task, proposer=proposer, bundle=bundle, genesis=genesis, terms=terms)
    return task


@external
def grant(task: uint256, dataset: uint256, limit: uint256, until: uint256, rounds: uint256):
    """
    @notice Consent that one dataset of the sender serves one task. The grant that makes enough for an adopted task
            to start opens its first round; a later one puts the sender among those the next round waits for.
            Only the sender's main account can.
    @param task The task.
    @param dataset A dataset of the sender's. At most one grant a task and member is live at a time.
    @param limit What the task may spend of the dataset's privacy, in millionths of epsilon, below 2**64; 0: no limit.
           The sender's peer holds to it.
    @param until Ledger time at which the grant ends by itself, below 2**48; 0: never.
    @param rounds How many rounds it is for, the one being made included; 0: all.
    """
    index: uint256 = self._main_sender()
    terms: Terms = self._terms(task)
    assert 0 < dataset and dataset <= self._dataset_count, "no such dataset"
    assert self._datasets[dataset].word >> 64 == index, "not your dataset"
    assert limit < 2**64, "limit out of bounds"
    assert until == 0 or (until > block.timestamp and until < 2**48), "until out of bounds"
    assert rounds <= MAX_ROUNDS, "rounds out of bounds"
    assert (self._tasks[task].barred >> index) & 1 == 0, "expelled from this task"
    stage: Stage = self._stage(task)
    assert stage.phase != DONE, "task is done"
    if self._lapsed(task, 1 << index, stage.round) != 0:
        self._withdraw(task, index)
    assert self._grants[task][index] == 0, "already granted"
    last: uint256 = 0
    if rounds > 0:
        last = max(stage.round, 1) + rounds - 1
    if until + last > 0:
        self._tasks[task].bounded |= 1 << index
        self._tasks[task].terms |= 1 << 170
    self._grants[task][index] = dataset | (limit << 64) | (until << 128) | (last << 176)
    self._tasks[task].granted |= 1 << index
    log Granted(task=task, member=index, dataset=dataset, limit=limit, until=until, last=last)
    if stage.phase != GATHERING:
        self._tasks[task].coming |= 1 << index
    elif self._standing(task) == ADOPTED:
        self._start(task, terms)


@internal
def _start(task: uint256, terms: Terms):
    granted: uint256 = self._tasks[task].granted & self._living()
    granted &= ~self._lapsed(task, granted, 1)
    if self._count(granted) >= terms.start_members:
        self._open(task, 1, 0, self._tasks[task].genesis, granted, terms, 0)


@external
def revoke(task: uint256):
    """
    @notice Withdraw the sender's grant. A round stops waiting for the sender at once; a commit it has already
            made stays.
    @param task The task.
    """
    index: uint256 = self._sender()
    assert self._grants[task][index] != 0, "no grant"
    self._withdraw(task, index)
    self._unawait(task)


@internal
def _withdraw(task: uint256, index: uint256):
    kept: uint256 = ~(1 << index)
    log Revoked(task=task, member=index, dataset=self._grants[task][index] & (2**64 - 1))
    self._grants[task][index] = 0
    self._tasks[task].granted &= kept
    self._tasks[task].bounded &= kept
    self._tasks[task].coming &= kept


@internal
def _unawait(task: uint256):
    stage: Stage = self._stage(task)
    terms: Terms = self._terms(task)
    if stage.phase == COMMIT and not self._is_closed(task, stage, terms):
        self._close_if_complete(task, stage, terms)


@internal
@view
def _lapsed(task: uint256, members: uint256, round: uint256) -> uint256:
    # those of `members` whose grant does not cover this round, or this moment
    lapsed: uint256 = 0
    if self._tasks[task].terms >> 170 == 0:
        return 0
    bounded: uint256 = self._tasks[task].bounded & members
    for i: uint256 in range(MAX_MEMBERS):
        left: uint256 = bounded >> i
        if left == 0:
            break
        if left & 1 == 1:
            word: uint256 = self._grants[task][i]
            until: uint256 = (word >> 128) & (2**48 - 1)
            last: uint256 = word >> 176
            if (until != 0 and block.timestamp >= until) or (last != 0 and round > last):
                lapsed |= 1 << i
    return lapsed


@external
def expel(task: uint256, member: uint256, evidence: bytes32, signers: uint256, signatures: Bytes[MAX_SIGNATURES]):
    """
    @notice Bar a member from a task's later rounds, by the word of a quorum of all members that it broke a rule
            which anyone can check. Its grant ends, and it cannot grant this task again.
    @param task The task.
    @param member Index of the member.
    @param evidence Hash of what proves it: a blob that the signers hold.
    @param signers Bitmap of those who sign: a quorum of all members.
    @param signatures For each signer, ascending, 65 bytes r, s, v: EIP-712 `Expulsion`.
    """
    self._sender()
    assert self._tasks[task].terms != 0, "no such task"
    assert member < self._roll & (MOVED - 1), "no such member"
    assert (self._tasks[task].barred >> member) & 1 == 0, "already expelled"
    statement: bytes32 = keccak256(abi_encode(EXPULSION_TYPE, task, member, evidence))
    self._check_quorum(self._living(), signers, self._digest(statement), len(signatures), 4)
    self._tasks[task].barred |= 1 << member
    log Expelled(task=task, member=member, evidence=evidence, signers=signers, signatures=signatures)
    if self._grants[task][member] != 0:
        self._withdraw(task, member)
        self._unawait(task)


@external
def attend(task: uint256):
    """
    @notice Ask to be among those the next round, or attempt, waits for. Asking again changes nothing.
    @param task The task; the sender has a live grant for it.
    """
    index: uint256 = self._sender()
    assert (self._tasks[task].granted >> index) & 1 == 1, "no grant"
    coming: uint256 = self._tasks[task].coming
    if (coming >> index) & 1 == 0:
        self._tasks[task].coming = coming | (1 << index)
        log Attending(task=task, member=index)


# ---------------------------------------------------------------- rounds

@external
def commit(task: uint256, round: uint256, attempt: uint256, hash: bytes32):
    """
    @notice Commit to a contribution, before anyone reveals one.
    @param task The task.
    @param round The round being made.
    @param attempt Its attempt being made.
    @param hash The salted hash of the contribution, bound to the sender.
    """
    index: uint256 = self._sender()
    self._commit(task, round, attempt, 1 << index, [hash])


@external
def commit_all(
    task: uint256,
    round: uint256,
    attempt: uint256,
    members: uint256,
    hashes: DynArray[bytes32, MAX_MEMBERS],
    signatures: Bytes[MAX_SIGNATURES],
):
    """
    @notice Commit for several members at once, by their word: what each would pay for a transaction of its own
            is paid once.
    @param task The task.
    @param round The round being made.
    @param attempt Its attempt being made.
    @param members Bitmap of those who commit.
    @param hashes For each, ascending, the salted hash of its contribution, bound to it.
    @param signatures For each, ascending, 65 bytes r, s, v: EIP-712 `Commit`.
    """
    count: uint256 = self._count(members)
    assert count > 0 and len(hashes) == count, "hashes do not match members"
    assert len(signatures) == 65 * count, "signatures do not match signers"
    at: uint256 = self._argument(5)
    domain: bytes32 = self._domain()
    signer: uint256 = 0
    for hash: bytes32 in hashes:
        signer += self._zeros(members >> signer)
        statement: bytes32 = keccak256(abi_encode(COMMIT_TYPE, task, round, attempt, hash))
        self._check_signer(signer, keccak256(concat(b"\x19\x01", domain, statement)), at)
        signer += 1
        at += 65
    self._commit(task, round, attempt, members, hashes)


@internal
def _commit(
    task: uint256, round: uint256, attempt: uint256, members: uint256, hashes: DynArray[bytes32, MAX_MEMBERS]
):
    stage: Stage = self._stage_at(task, round, attempt, 1 << COMMIT)
    terms: Terms = self._terms(task)
    absent: uint256 = self._rounds[task].absent
    assert self._standing(task) == ADOPTED, "task is paused"
    assert members & ~self._rounds[task].members == 0, "not in the snapshot"
    assert terms.sealed == 0 or members & ~self._rounds[task].expected == 0, "not dealt in"
    assert members & ~self._tasks[task].granted == 0, "no grant"
    assert members & self._removed == 0, "not a member"
    assert self._lapsed(task, members, round) == 0, "the grant has ended"
    assert members & ~absent == 0, "already committed"
    assert not self._is_closed(task, stage, terms), "commits are closed"
    for hash: bytes32 in hashes:
        assert hash != empty(bytes32), "hash is empty"
    self._rounds[task].absent = absent & ~members
    log Committed(task=task, round=round, attempt=attempt, members=members, hashes=hashes)
    self._close_if_complete(task, stage, terms)


@external
def freeze(
    task: uint256,
    round: uint256,
    attempt: uint256,
    voters: uint256,
    holdings: DynArray[uint256, MAX_MEMBERS],
    signatures: Bytes[MAX_SIGNATURES],
):
    """
    @notice Fix the survivors of an attempt by a quorum's attestations of what they hold. A committer survives
            if at most f attestations lack it. Too few survivors open the next attempt. In a sealed attempt
            that is frozen already, attestations of whose masks are open leave out those whose are not.
    @param task The task.
    @param round The round being made.
    @param attempt Its attempt, with commits closed.
    @param voters Bitmap of those who attest: a quorum of the snapshot.
    @param holdings For each voter, ascending, the bitmap of contributors it holds all shards of, or of survivors
           whose masks it can take off.
    @param signatures For each voter, ascending, 65 bytes r, s, v: EIP-712 `Holding`, or `Opening`.
    """
    terms: Terms = self._terms(task)
    stage: Stage = self._stage_at(task, round, attempt, (1 << COMMIT) | (terms.sealed << FROZEN))
    shrinking: bool = stage.phase == FROZEN
    assert shrinking or self._is_closed(task, stage, terms), "commits are open"
    members: uint256 = self._rounds[task].members
    base: uint256 = ~self._rounds[task].absent
    if shrinking:
        base = ~self._rounds[task].fallen
    self._check_count(members, voters, len(signatures))
    assert len(holdings) == self._count(voters), "holdings do not match voters"
    domain: bytes32 = self._domain()
    at: uint256 = self._argument(5)
    voter: uint256 = 0
    for holding: uint256 in holdings:
        voter += self._zeros(voters >> voter)
        statement: bytes32 = keccak256(abi_encode(HOLDING_TYPE, task, round, attempt, holding))
        if shrinking:
            statement = keccak256(abi_encode(OPENING_TYPE, task, round, attempt, base, holding))
        self._check_signer(voter, keccak256(concat(b"\x19\x01", domain, statement)), at)
        voter += 1
        at += 65

    survivors: uint256 = self._held(base, holdings, (self._count(members) - 1) // 3)
    if shrinking:
        assert survivors != base, "all masks are open"
        # the fewest whose sum is a secret; whether they are enough for its policy each signer has judged
        assert self._count(survivors) >= 3, "too few would survive"
        if stage.shrunk == 0:
            stage.shrunk = 1
            self._rounds[task].first = base
    elif self._count(survivors) < terms.min_members:
        self._again(task, stage, base, terms)
        return
    stage.phase = FROZEN
    stage.shut = terms.sealed
    stage.final_deadline = block.timestamp + (terms.final_seconds << min(attempt, MAX_DOUBLINGS))
    self._rounds[task].fallen = ~survivors
    self._put_stage(task, stage)


@external
def finalise(
    task: uint256,
    round: uint256,
    attempt: uint256,
    inputs: bytes32,
    aggregate: bytes32,
    model: bytes32,
    signers: uint256,
    signatures: Bytes[MAX_SIGNATURES],
):
    """
    @notice Make a round final by a quorum's signatures under its model, and open the next.
    @param task The task.
    @param round The round being made.
    @param attempt Its attempt, frozen.
    @param inputs Hash over the survivors' contribution roots.
    @param aggregate Hash of the sums.
    @param model Hash of the new state.
    @param signers Bitmap of those who sign: a quorum of the snapshot.
    @param signatures For each signer, ascending, 65 bytes r, s, v: EIP-712 `Model`.
    """
    stage: Stage = self._stage_at(task, round, attempt, 1 << FROZEN)
    terms: Terms = self._terms(task)
    parent: bytes32 = self._rounds[task].parent
    members: uint256 = self._rounds[task].members
    survivors: uint256 = ~self._rounds[task].fallen
    statement: bytes32 = keccak256(
        abi_encode(
            MODEL_TYPE,
            task,
            round,
            attempt,
            parent,
            inputs,
            aggregate,
            model,
            survivors,
        )
    )
    self._check_quorum(members, signers, self._digest(statement), len(signatures), 7)
    log Finalised(
        task=task,
        round=round,
        attempt=attempt,
        parent=parent,
        inputs=inputs,
        aggregate=aggregate,
        model=model,
        survivors=survivors,
        members=members,
        dealt=self._dealt(terms, self._rounds[task].expected),
        first_survivors=self._first_survivors(task, stage),
        signers=signers,
        time=block.timestamp,
        signatures=signatures,
    )
    if round == terms.rounds:
        stage.phase = DONE
        self._rounds[task].parent = model
        self._put_stage(task, stage)
    else:
        # it names what opens the commits: fixed before anyone's was shown, so no single member could choose it
        self._rounds[task].beacon = inputs
        coming: uint256 = self._tasks[task].coming
        self._open(task, round + 1, 0, model, ~self._rounds[task].absent | coming, terms, 0)


@external
def retry(task: uint256, round: uint256, attempt: uint256):
    """
    @notice Open the next attempt of a round that does not come to its end: frozen, but without a model when
            its final deadline has passed; or short of commits past their deadline, while someone with a grant
            stands outside its snapshot, or outside those it was dealt to, and could commit in a new one.
    @param task The task.
    @param round The round being made.
    @param attempt The attempt to give up.
    """
    self._sender()
    terms: Terms = self._terms(task)
    stage: Stage = self._stage_at(task, round, attempt, (1 << COMMIT) | (1 << FROZEN))
    deadline: uint256 = stage.final_deadline if stage.phase == FROZEN else stage.commit_deadline
    assert block.timestamp >= deadline, "before the deadline"
    if stage.phase == FROZEN:
        self._again(task, stage, ~self._rounds[task].fallen, terms)
    else:
        assert not self._is_closed(task, stage, terms), "commits are closed"
        outside: uint256 = self._tasks[task].granted & self._living() & ~self._rounds[task].members
        if terms.sealed == 1:
            outside |= self._tasks[task].coming & ~self._rounds[task].expected
        assert outside != 0 and stage.shut == 0, "no one new could commit"
        self._again(task, stage, ~self._rounds[task].absent, terms)


@internal
def _open(
    task: uint256, round: uint256, attempt: uint256, parent: bytes32, expected: uint256, terms: Terms, shut: uint256
):
    members: uint256 = self._living()
    lapsed: uint256 = self._lapsed(task, members, round)
    for i: uint256 in range(MAX_MEMBERS):
        left: uint256 = lapsed >> i
        if left == 0:
            break
        if left & 1 == 1:
            self._withdraw(task, i)
    awaited: uint256 = expected & self._tasks[task].granted & members
    stage: Stage = Stage(
        phase=COMMIT,
        shut=shut,
        shrunk=0,
        round=round,
        attempt=attempt,
        commit_deadline=block.timestamp + (terms.train_seconds << min(attempt, MAX_DOUBLINGS)),
        closed_at=0,
        final_deadline=0,
        opened=block.number,
    )
    self._rounds[task].parent = parent
    self._rounds[task].absent = max_value(uint256)
    self._rounds[task].fallen = max_value(uint256)
    if self._roll >= MOVED:
        # the round before was the last
        stage.phase = DONE
        stage.round = round - 1
        self._put_stage(task, stage)
        return
    self._tasks[task].coming = 0
    self._rounds[task].members = members
    self._rounds[task].expected = awaited
    self._put_stage(task, stage)


@internal
def _again(task: uint256, stage: Stage, expected: uint256, terms: Terms):
    log Retried(task=task, round=stage.round, attempt=stage.attempt + 1)
    awaited: uint256 = expected | self._tasks[task].coming
    if stage.shut == 1:
        # nobody new: what they send beside the same contributions could be told from two sums
        awaited = expected if stage.phase == FROZEN else self._rounds[task].expected
    self._open(
        task,
        stage.round,
        stage.attempt + 1,
        self._rounds[task].parent,
        awaited,
        terms,
        stage.shut,
    )


@internal
@view
def _is_closed(task: uint256, stage: Stage, terms: Terms) -> bool:
    if stage.closed_at != 0:
        return True
    if block.timestamp < stage.commit_deadline:
        return False
    return self._count(~self._rounds[task].absent) >= terms.min_members


@internal
def _close_if_complete(task: uint256, stage: Stage, terms: Terms):
    # called on commits that were open a moment ago: past the deadline they close with the minimum's commit
    absent: uint256 = self._rounds[task].absent
    if self._count(~absent) < terms.min_members:
        return
    missing: uint256 = self._rounds[task].expected & self._tasks[task].granted & absent & ~self._removed
    if missing == 0 or block.timestamp >= stage.commit_deadline:
        closed: Stage = stage
        closed.closed_at = block.timestamp
        self._put_stage(task, closed)


# ---------------------------------------------------------------- sets and signatures

@internal
@view
def _sender() -> uint256:
    number: uint256 = self._number_of[msg.sender]
    assert number != 0, "not a member"
    return number - 1


@internal
@view
def _main_sender() -> uint256:
    index: uint256 = self._sender()
    assert self._mains[index] == msg.sender, "only the main account may"
    return index


@internal
@pure
def _zeros(bitmap: uint256) -> uint256:
    # the zeros below the lowest one of a bitmap that is not empty
    return self._count((bitmap & (~bitmap + 1)) - 1)


@internal
@pure
def _count(bitmap: uint256) -> uint256:
    # bits are summed in fields of 2, 4, 8, then 16 bits: a field of 8 could not hold 256
    x: uint256 = unsafe_sub(bitmap, (bitmap >> 1) & ONES_OF_2)
    x = (x & ONES_OF_4) + ((x >> 2) & ONES_OF_4)
    x = (x + (x >> 4)) & ONES_OF_8
    x = (x & ONES_OF_16) + ((x >> 8) & ONES_OF_16)
    return unsafe_mul(x, LOWEST_OF_16) >> 240


@internal
@pure
def _held(committed: uint256, holdings: DynArray[uint256, MAX_MEMBERS], faults: uint256) -> uint256:
    # For all committers at once, the number of holdings that lack each: bit j of planes[k] is bit k of
    # the number for member j. Adding one holding is a ripple of carries, mostly a step or two long.
    planes: uint256[9] = empty(uint256[9])
    for holding: uint256 in holdings:
        carry: uint256 = committed & ~holding
        for k: uint256 in range(9):
            if carry == 0:
                break
            before: uint256 = planes[k]
            planes[k] = before ^ carry
            carry = before & carry
    # the comparison with f, from the highest bit: larger so far, equal so far
    larger: uint256 = 0
    equal: uint256 = committed
    for k: uint256 in range(9):
        plane: uint256 = planes[8 - k]
        if (faults >> (8 - k)) & 1 == 1:
            equal &= plane
        else:
            larger |= equal & plane
            equal &= ~plane
    return committed & ~larger


@internal
@view
def _check_count(members: uint256, signers: uint256, size: uint256):
    n: uint256 = self._count(members)
    count: uint256 = self._count(signers)
    assert signers & ~members == 0, "signer is not in the snapshot"
    assert count >= (n + (n - 1) // 3) // 2 + 1, "no quorum"
    assert size == 65 * count, "signatures do not match signers"


@internal
@view
def _check_quorum(members: uint256, signers: uint256, digest: bytes32, size: uint256, argument: uint256):
    # all under one digest; the signatures are the call's argument of that number, `size` bytes
    self._check_count(members, signers, size)
    at: uint256 = self._argument(argument)
    for i: uint256 in range(MAX_MEMBERS):
        left: uint256 = signers >> i
        if left == 0:
            break
        if left & 1 == 1:
            self._check_signer(i, digest, at)
            at += 65


@internal
@view
def _check_signer(index: uint256, digest: bytes32, at: uint256):
    signer: address = self._recover(digest, slice(msg.data, at, 65))
    assert signer == self._accounts[index], "signature is not the signer's"


@internal
@view
def _argument(number: uint256) -> uint256:
    # where in the calldata the bytes of an argument begin, behind their length
    head: Bytes[32] = slice(msg.data, 4 + 32 * number, 32)
    return 36 + extract32(head, 0, output_type=uint256)


@internal
@view
def _domain() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self))


@internal
@view
def _digest(statement: bytes32) -> bytes32:
    return keccak256(concat(b"\x19\x01", self._domain(), statement))


@internal
@pure
def _recover(digest: bytes32, signature: Bytes[65]) -> address:
    s: uint256 = extract32(signature, 32, output_type=uint256)
    v: uint256 = extract32(signature, 33, output_type=uint256) & 255
    assert s <= convert(HALF_ORDER, uint256) and (v == 27 or v == 28), "signature is malleable"
    signer: address = ecrecover(digest, v, extract32(signature, 0, output_type=uint256), s)
    assert signer != empty(address), "signature is invalid"
    return signer


# ---------------------------------------------------------------- packed words

@internal
@view
def _terms(task: uint256) -> Terms:
    word: uint256 = self._tasks[task].terms
    assert word != 0, "no such task"
    return Terms(
        rounds=(word >> 8) & (2**24 - 1),
        min_members=(word >> 32) & (2**16 - 1),
        start_members=(word >> 48) & (2**16 - 1),
        train_seconds=(word >> 64) & (2**32 - 1),
        exchange_seconds=(word >> 96) & (2**32 - 1),
        final_seconds=(word >> 128) & (2**32 - 1),
        sealed=(word >> 160) & 1,
    )


@internal
@view
def _standing(task: uint256) -> uint256:
    return (self._tasks[task].terms >> 168) & 3


@internal
@view
def _stage(task: uint256) -> Stage:
    word: uint256 = self._rounds[task].stage
    return Stage(
        phase=word & 3,
        shut=(word >> 2) & 1,
        shrunk=(word >> 3) & 1,
        round=(word >> 8) & (2**32 - 1),
        attempt=(word >> 40) & (2**32 - 1),
        commit_deadline=(word >> 72) & (2**48 - 1),
        closed_at=(word >> 120) & (2**48 - 1),
        final_deadline=(word >> 168) & (2**48 - 1),
        opened=word >> 216,
    )


@internal
@view
def _stage_at(task: uint256, round: uint256, attempt: uint256, phases: uint256) -> Stage:
    # `phases` is a bitmap of those it may be in
    stage: Stage = self._stage(task)
    assert stage.round == round and stage.attempt == attempt, "not this attempt"
    assert (phases >> stage.phase) & 1 == 1, "not in this phase"
    return stage


@internal
@view
def _first_survivors(task: uint256, stage: Stage) -> uint256:
    return self._rounds[task].first if stage.shrunk == 1 else ~self._rounds[task].fallen


@internal
@pure
def _dealt(terms: Terms, expected: uint256) -> uint256:
    return expected if terms.sealed == 1 else 0


@internal
def _put_stage(task: uint256, stage: Stage):
    self._rounds[task].stage = (
        stage.phase
        | (stage.shut << 2)
        | (stage.shrunk << 3)
        | (stage.round << 8)
        | (stage.attempt << 40)
        | (stage.commit_deadline << 72)
        | (stage.closed_at << 120)
        | (stage.final_deadline << 168)
        | (stage.opened << 216)
    )


# ---------------------------------------------------------------- reading

@external
@view
def about() -> (uint256, address):
    """
    @notice What was fixed when the moot was founded.
    @return The block it was deployed in, and its assembly.
    """
    return BORN, ASSEMBLY


@external
@view
def counts() -> (uint256, uint256, uint256):
    """
    @notice How much there is.
    @return The numbers of members, removed ones included, of datasets and of tasks.
    """
    return self._roll & (MOVED - 1), self._dataset_count, self._task_count


@external
@view
def condition() -> (uint256, uint256, uint256, uint256):
    """
    @notice What members' decisions have made of it.
    @return Bitmap of the members it has; 1 if it has moved to a successor; the fewest min_members a task may
            have; 1 where tasks must be sealed.
    """
    return self._living(), self._roll // MOVED, self._floor & 65_535, self._floor >> 16


@external
@view
def progress(task: uint256) -> (uint256, uint256, uint256, uint256):
    """
    @notice How far a task has come.
    @param task The task.
    @return How many of its rounds are final; how many it has; 1 if it is done; the seconds of its exchange.
    """
    terms: Terms = self._terms(task)
    stage: Stage = self._stage(task)
    done: uint256 = 1 if stage.phase == DONE else 0
    return max(stage.round + done, 1) - 1, terms.rounds, done, terms.exchange_seconds


@external
@view
def living() -> uint256:
    """
    @notice Who belongs to the moot.
    @return Bitmap of its members, without those removed.
    """
    return self._living()


@external
@view
def number_of(account: address) -> uint256:
    """
    @notice Look up a member by its account.
    @param account Any address.
    @return The member's index plus one; 0 if the account is no member.
    """
    return self._number_of[account]


@external
@view
def accounts_of(member: uint256) -> (address, address):
    """
    @notice The accounts of a member, removed ones included.
    @param member Index of the member, up to 255.
    @return Its account in daily use and its main account; zero if there is none of that index.
    """
    return self._accounts[member], self._mains[member]


@external
@view
def datasets(start: uint256) -> DynArray[Dataset, PAGE]:
    """
    @notice A page of dataset descriptions.
    @param start Id of the first one wanted; ids begin with 1.
    @return Up to 32 of them; the first has id `start`.
    """
    page: DynArray[Dataset, PAGE] = []
    for i: uint256 in range(PAGE):
        id: uint256 = start + i
        if id > self._dataset_count or id == 0:
            break
        slots: DatasetSlots = self._datasets[id]
        page.append(
            Dataset(
                owner=slots.word >> 64,
                card=slots.card,
                schema=slots.schema,
                conditions=slots.conditions,
                records=slots.word & (2**64 - 1),
            )
        )
    return page


@external
@view
def tasks(start: uint256) -> DynArray[Task, PAGE]:
    """
    @notice A page of tasks.
    @param start Id of the first one wanted; ids begin with 1.
    @return Up to 32 of them; the first has id `start`.
    """
    page: DynArray[Task, PAGE] = []
    for i: uint256 in range(PAGE):
        id: uint256 = start + i
        if id > self._task_count or id == 0:
            break
        slots: TaskSlots = self._tasks[id]
        page.append(
            Task(
                id=id,
                proposer=slots.terms & 255,
                bundle=slots.bundle,
                genesis=slots.genesis,
                terms=self._terms(id),
                standing=(slots.terms >> 168) & 3,
                granted=slots.granted & ~self._removed,
                barred=slots.barred,
            )
        )
    return page


@external
@view
def grant_of(task: uint256, member: uint256) -> (uint256, uint256, uint256, uint256):
    """
    @notice The dataset a member has granted to a task.
    @param task The task.
    @param member Index of the member.
    @return The dataset's id, 0 if there is no live grant; what may be spent of its privacy, in millionths of
            epsilon; the time at which the grant ends; the last round it is for: 0 for no limit, each.
    """
    word: uint256 = self._grants[task][member]
    if not self._is_living(member) or self._lapsed(task, 1 << member, self._stage(task).round) != 0:
        word = 0
    return word & (2**64 - 1), (word >> 64) & (2**64 - 1), (word >> 128) & (2**48 - 1), word >> 176


@external
@view
def round_view(task: uint256) -> RoundView:
    """
    @notice Everything about the round being made, in one read.
    @param task The task.
    @return The fields of `folkmoot.ledger.records.RoundView`, without task and commits. `expected` leaves out
            members who are gone or have withdrawn their grant; `dealt` is whom a sealed attempt was opened to, whatever they did since;
            `first_survivors` are those that the attempt was frozen with, of whom `survivors` may have fewer by now;
            `shut` is 1 once an attempt at a round was sealed and frozen: until it is final nobody new comes in.
    """
    terms: Terms = self._terms(task)
    stage: Stage = self._stage(task)
    slots: RoundSlots = self._rounds[task]
    return RoundView(
        round=stage.round,
        attempt=stage.attempt,
        phase=stage.phase,
        parent=slots.parent,
        beacon=slots.beacon,
        members=slots.members,
        expected=slots.expected & self._tasks[task].granted & ~self._removed,
        dealt=self._dealt(terms, slots.expected),
        committed=0 if stage.opened == 0 else ~slots.absent,
        survivors=0 if stage.opened == 0 else ~slots.fallen,
        commit_deadline=stage.commit_deadline,
        closed_at=stage.closed_at,
        final_deadline=stage.final_deadline,
        min_members=terms.min_members,
        exchange_seconds=terms.exchange_seconds,
        opened=stage.opened,
        standing=self._standing(task),
        first_survivors=0 if stage.opened == 0 else self._first_survivors(task, stage),
        shut=stage.shut,
    )
