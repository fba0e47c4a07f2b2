# pragma version 0.4.3
# pragma evm-version london
# pragma optimize gas
"""
@title Moot
@license Apache-2.0
@notice One moot: its members, their datasets and grants, the tasks they train together, and the rounds of
        those tasks. It decides sets, order and deadlines; data, updates and models never come here.
@dev A set of members is a bitmap: bit i stands for member i, and at most 256 can join. Everything a call
     does is bounded by that number. No one keeps a privilege: the deployer becomes member 0 by the same
     internal function as everyone else. Only opcodes of London are used, so that any chain since then
     can run it. `block.prevrandao` is never read: consortium chains leave it constant.
"""

# ---------------------------------------------------------------- bounds

MAX_MEMBERS: constant(uint256) = 256
MAX_SIGNATURES: constant(uint256) = 65 * 256
PAGE: constant(uint256) = 32
MAX_SECONDS: constant(uint256) = 7 * 86_400
MAX_ROUNDS: constant(uint256) = 1_000_000
MAX_DOUBLINGS: constant(uint256) = 6

# phases, as `folkmoot.ledger.records.Phase` numbers them
GATHERING: constant(uint256) = 0
COMMIT: constant(uint256) = 1
FROZEN: constant(uint256) = 2
DONE: constant(uint256) = 3

# ---------------------------------------------------------------- statements, EIP-712

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Folkmoot")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
VOUCHER_TYPE: constant(bytes32) = keccak256("Voucher(address applicant)")
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

struct Member:
    account: address
    name: String[64]
    endpoint: bytes32
    exchange: bytes32
    binding: Bytes[64]
    addresses: String[512]


struct Dataset:
    owner: uint256
    card: bytes32
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
    commits: DynArray[bytes32, MAX_MEMBERS]


# where a task's round stands, unpacked from one word
struct Stage:
    phase: uint256
    round: uint256
    attempt: uint256
    commit_deadline: uint256
    closed_at: uint256
    final_deadline: uint256


# records in the low 64 bits, owner above them
struct DatasetSlots:
    card: bytes32
    word: uint256


# terms, from the low end: proposer 8 bits, rounds 24, min_members 16, start_members 16, then
# train_seconds, exchange_seconds, final_seconds 32 each, sealed 1
struct TaskSlots:
    bundle: bytes32
    genesis: bytes32
    terms: uint256
    granted: uint256
    coming: uint256
    barred: uint256


# stage, from the low end: phase 8 bits, round 32, attempt 32, then commit_deadline, closed_at,
# final_deadline 48 each; the slots are overwritten by every attempt, so a round costs no new storage
struct RoundSlots:
    parent: bytes32
    beacon: bytes32
    members: uint256
    expected: uint256
    committed: uint256
    survivors: uint256
    stage: uint256


NAME: immutable(String[64])
SEATS: immutable(uint256)
VOUCHER: immutable(address)
BORN: immutable(uint256)

_member_count: uint256
_number_of: HashMap[address, uint256]  # index + 1; 0: not a member
_accounts: address[MAX_MEMBERS]  # apart from _profiles, so that checking a quorum reads one slot a signer
_profiles: HashMap[uint256, Member]
_taken: HashMap[bytes32, bool]  # names (hashed), endpoints and exchange keys in use
_votes: HashMap[address, uint256]
_usable: HashMap[address, bool]

_dataset_count: uint256
_datasets: HashMap[uint256, DatasetSlots]

_task_count: uint256
_tasks: HashMap[uint256, TaskSlots]
_grants: HashMap[uint256, uint256[MAX_MEMBERS]]  # dataset in the low 128 bits, limit above them
_rounds: HashMap[uint256, RoundSlots]
_commits: HashMap[uint256, bytes32[MAX_MEMBERS]]

# ---------------------------------------------------------------- events

event Joined:
    member: indexed(uint256)
    account: indexed(address)
    voucher: address
    name: String[64]
    endpoint: bytes32
    exchange: bytes32


event Announced:
    member: indexed(uint256)
    addresses: String[512]


event Invited:
    voucher: indexed(address)
    member: indexed(uint256)
    usable: bool


event Described:
    dataset: indexed(uint256)
    owner: indexed(uint256)
    card: bytes32
    records: uint256


event Proposed:
    task: indexed(uint256)
    proposer: indexed(uint256)
    bundle: bytes32
    genesis: bytes32
    terms: Terms


event Granted:
    task: indexed(uint256)
    member: indexed(uint256)
    dataset: uint256
    limit: uint256


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


event Opened:
    task: indexed(uint256)
    round: indexed(uint256)
    attempt: uint256
    parent: bytes32
    members: uint256
    expected: uint256
    commit_deadline: uint256


event Committed:
    task: indexed(uint256)
    round: indexed(uint256)
    attempt: uint256
    member: uint256
    hash: bytes32


event Frozen:
    task: indexed(uint256)
    round: indexed(uint256)
    attempt: uint256
    survivors: uint256


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
    signers: uint256
    time: uint256
    commits: DynArray[bytes32, MAX_MEMBERS]
    signatures: Bytes[MAX_SIGNATURES]


# ---------------------------------------------------------------- joining

@deploy
def __init__(
    name: String[64],
    seats: uint256,
    voucher: address,
    founder: String[64],
    endpoint: bytes32,
    exchange: bytes32,
    binding: Bytes[64],
    addresses: String[512],
):
    """
    @notice Found a moot. The sender becomes member 0, and keeps no other privilege.
    @param name What the moot is called, 1 to 64 bytes.
    @param seats Until the moot has this many members, the founding voucher admits further ones; 1 to 256.
    @param voucher Address of the founding voucher's key.
    @param founder The founder's name as a member; the other arguments are as in `join`.
    """
    assert len(name) > 0, "moot has no name"
    assert 0 < seats and seats <= MAX_MEMBERS, "seats out of bounds"
    NAME = name
    SEATS = seats
    VOUCHER = voucher
    BORN = block.number
    self._admit(empty(address), founder, endpoint, exchange, binding, addresses)


@external
def join(
    name: String[64],
    endpoint: bytes32,
    exchange: bytes32,
    binding: Bytes[64],
    addresses: String[512],
    voucher_signature: Bytes[65],
):
    """
    @notice Become a member.
    @param name Unique in the moot, 1 to 64 bytes.
    @param endpoint Ed25519 key of the peer's network endpoint; unique.
    @param exchange X25519 key; unique.
    @param binding The endpoint key's signature over the sender's address and the exchange key; peers check it.
    @param addresses Where the peer can be reached, comma-separated host:port; a hint.
    @param voucher_signature EIP-712 `Voucher(applicant = sender)` by the key of a usable voucher: naming the
           applicant, it is worth nothing to one who copies it from a pending transaction.
    """
    assert len(voucher_signature) == 65, "voucher signature is not 65 bytes"
    voucher: address = self._recover(
        self._digest(keccak256(abi_encode(VOUCHER_TYPE, msg.sender))),
        extract32(voucher_signature, 0),
        extract32(voucher_signature, 32),
        convert(extract32(voucher_signature, 33), uint256) & 255,
    )
    if voucher != VOUCHER or self._member_count >= SEATS:
        assert self._usable[voucher], "voucher is not usable"
        self._usable[voucher] = False
    self._admit(voucher, name, endpoint, exchange, binding, addresses)


@internal
def _admit(
    voucher: address,
    name: String[64],
    endpoint: bytes32,
    exchange: bytes32,
    binding: Bytes[64],
    addresses: String[512],
):
    index: uint256 = self._member_count
    assert index < MAX_MEMBERS, "moot is full"
    assert self._number_of[msg.sender] == 0, "already a member"
    assert len(name) > 0, "member has no name"
    assert len(binding) == 64, "binding is not 64 bytes"
    # the three kinds share one map: none can be mistaken for another, each being a hash or a public key
    assert endpoint != empty(bytes32) and exchange != empty(bytes32), "key is empty"
    self._take(keccak256(name), "name is taken")
    self._take(endpoint, "endpoint is taken")
    self._take(exchange, "exchange key is taken")
    self._number_of[msg.sender] = index + 1
    self._accounts[index] = msg.sender
    self._profiles[index] = Member(
        account=msg.sender,
        name=name,
        endpoint=endpoint,
        exchange=exchange,
        binding=binding,
        addresses=addresses,
    )
    self._member_count = index + 1
    log Joined(
        member=index, account=msg.sender, voucher=voucher, name=name, endpoint=endpoint, exchange=exchange
    )


@internal
def _take(token: bytes32, reason: String[32]):
    assert not self._taken[token], reason
    self._taken[token] = True


@external
def invite(voucher: address):
    """
    @notice Vote that the holder of a voucher's key may join. More than half of the members as they then are
            make the voucher usable, once.
    @param voucher Address of the voucher's key.
    """
    index: uint256 = self._sender()
    assert voucher != empty(address), "voucher is empty"
    assert not self._usable[voucher], "already usable"
    votes: uint256 = self._votes[voucher]
    assert (votes >> index) & 1 == 0, "already voted"
    votes |= 1 << index
    usable: bool = 2 * self._count(votes) > self._member_count
    if usable:
        votes = 0
        self._usable[voucher] = True
    self._votes[voucher] = votes
    log Invited(voucher=voucher, member=index, usable=usable)


@external
def announce(addresses: String[512]):
    """
    @notice Say where the sender's peer can be reached from now on.
    @param addresses Comma-separated host:port; may be empty.
    """
    index: uint256 = self._sender()
    self._profiles[index].addresses = addresses
    log Announced(member=index, addresses=addresses)


# ---------------------------------------------------------------- datasets, tasks, consent

@external
def describe(card: bytes32, records: uint256) -> uint256:
    """
    @notice Describe a dataset the sender keeps.
    @param card Hash of its description.
    @param records How many records, as coarse as its owner likes; below 2**64.
    @return Its id, from 1.
    """
    owner: uint256 = self._sender()
    assert records < 2**64, "records out of bounds"
    dataset: uint256 = self._dataset_count + 1
    self._dataset_count = dataset
    self._datasets[dataset] = DatasetSlots(card=card, word=(owner << 64) | records)
    log Described(dataset=dataset, owner=owner, card=card, records=records)
    return dataset


@external
def propose(bundle: bytes32, genesis: bytes32, terms: Terms) -> uint256:
    """
    @notice Propose a task. It binds no one: each member grants for itself.
    @param bundle Hash of the task's code and policy.
    @param genesis Hash of the state its first round starts from.
    @param terms The numbers of its policy that this contract enforces.
    @return Its id, from 1.
    """
    proposer: uint256 = self._sender()
    assert bundle != empty(bytes32) and genesis != empty(bytes32), "hash is empty"
    assert 0 < terms.rounds and terms.rounds <= MAX_ROUNDS, "rounds out of bounds"
    assert 0 < terms.min_members and terms.min_members <= MAX_MEMBERS, "min_members out of bounds"
    assert (
        terms.min_members <= terms.start_members and terms.start_members <= MAX_MEMBERS
    ), "start_members out of bounds"
    assert 0 < terms.train_seconds and terms.train_seconds <= MAX_SECONDS, "train_seconds out of bounds"
    assert (
        0 < terms.exchange_seconds and terms.exchange_seconds <= MAX_SECONDS
    ), "exchange_seconds out of bounds"
    assert terms.sealed <= 1, "sealed is 0 or 1"
    assert 0 < terms.final_seconds and terms.final_seconds <= MAX_SECONDS, "final_seconds out of bounds"
    task: uint256 = self._task_count + 1
    self._task_count = task
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
def grant(task: uint256, dataset: uint256, limit: uint256):
    """
    @notice Consent that one dataset of the sender serves one task. The grant that makes enough for the task
            to start opens its first round; a later one puts the sender among those the next round waits for.
    @param task The task.
    @param dataset A dataset of the sender's. At most one grant a task and member is live at a time.
    @param limit What the task may spend of the dataset's privacy, in millionths of epsilon, below 2**64; 0: no limit.
           The sender's peer holds to it.
    """
    index: uint256 = self._sender()
    terms: Terms = self._terms(task)
    assert 0 < dataset and dataset <= self._dataset_count, "no such dataset"
    assert self._datasets[dataset].word >> 64 == index, "not your dataset"
    assert self._grants[task][index] == 0, "already granted"
    assert limit < 2**64, "limit out of bounds"
    assert (self._tasks[task].barred >> index) & 1 == 0, "expelled from this task"
    stage: Stage = self._stage(task)
    assert stage.phase != DONE, "task is done"
    granted: uint256 = self._tasks[task].granted | (1 << index)
    self._grants[task][index] = dataset | (limit << 128)
    self._tasks[task].granted = granted
    log Granted(task=task, member=index, dataset=dataset, limit=limit)
    if stage.phase != GATHERING:
        self._tasks[task].coming |= 1 << index
    elif self._count(granted) >= terms.start_members:
        self._open(task, 1, 0, self._tasks[task].genesis, granted, terms)


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


@internal
def _withdraw(task: uint256, index: uint256):
    log Revoked(task=task, member=index, dataset=self._grants[task][index] & (2**128 - 1))
    self._grants[task][index] = 0
    self._tasks[task].granted &= ~(1 << index)
    self._tasks[task].coming &= ~(1 << index)
    stage: Stage = self._stage(task)
    terms: Terms = self._terms(task)
    if stage.phase == COMMIT and not self._is_closed(task, stage, terms):
        self._close_if_complete(task, stage, terms)


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
    assert member < self._member_count, "no such member"
    assert (self._tasks[task].barred >> member) & 1 == 0, "already expelled"
    statement: bytes32 = keccak256(abi_encode(EXPULSION_TYPE, task, member, evidence))
    everyone: uint256 = max_value(uint256) >> (MAX_MEMBERS - self._member_count)
    self._check_quorum(everyone, signers, [self._digest(statement)], signatures)
    self._tasks[task].barred |= 1 << member
    log Expelled(task=task, member=member, evidence=evidence, signers=signers, signatures=signatures)
    if self._grants[task][member] != 0:
        self._withdraw(task, member)


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
    bit: uint256 = 1 << index
    stage: Stage = self._stage_at(task, round, attempt, COMMIT)
    terms: Terms = self._terms(task)
    committed: uint256 = self._rounds[task].committed
    assert self._rounds[task].members & bit != 0, "not in the snapshot"
    assert terms.sealed == 0 or self._rounds[task].expected & bit != 0, "not dealt in"
    assert self._tasks[task].granted & bit != 0, "no grant"
    assert committed & bit == 0, "already committed"
    assert not self._is_closed(task, stage, terms), "commits are closed"
    assert hash != empty(bytes32), "hash is empty"
    self._rounds[task].committed = committed | bit
    self._commits[task][index] = hash
    log Committed(task=task, round=round, attempt=attempt, member=index, hash=hash)
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
    self._sender()
    stage: Stage = self._stage(task)
    assert stage.round == round and stage.attempt == attempt, "not this attempt"
    terms: Terms = self._terms(task)
    shrinking: bool = stage.phase == FROZEN and terms.sealed == 1
    assert stage.phase == COMMIT or shrinking, "not in this phase"
    assert shrinking or self._is_closed(task, stage, terms), "commits are open"
    members: uint256 = self._rounds[task].members
    base: uint256 = self._rounds[task].committed
    if shrinking:
        base = self._rounds[task].survivors
    assert len(holdings) == self._count(voters), "holdings do not match voters"
    digests: DynArray[bytes32, MAX_MEMBERS] = []
    domain: bytes32 = self._domain()
    for holding: uint256 in holdings:
        statement: bytes32 = keccak256(abi_encode(HOLDING_TYPE, task, round, attempt, holding))
        if shrinking:
            statement = keccak256(abi_encode(OPENING_TYPE, task, round, attempt, base, holding))
        digests.append(keccak256(concat(b"\x19\x01", domain, statement)))
    self._check_quorum(members, voters, digests, signatures)

    survivors: uint256 = self._held(base, holdings, (self._count(members) - 1) // 3)
    if shrinking:
        assert survivors != base, "all masks are open"
        # the fewest whose sum is a secret; whether they are enough for its policy each signer has judged
        assert self._count(survivors) >= 3, "too few would survive"
    elif self._count(survivors) < terms.min_members:
        self._again(task, stage, base, terms)
        return
    stage.phase = FROZEN
    stage.final_deadline = block.timestamp + (terms.final_seconds << min(attempt, MAX_DOUBLINGS))
    self._rounds[task].survivors = survivors
    self._put_stage(task, stage)
    log Frozen(task=task, round=round, attempt=attempt, survivors=survivors)


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
    self._sender()
    stage: Stage = self._stage_at(task, round, attempt, FROZEN)
    terms: Terms = self._terms(task)
    slots: RoundSlots = self._rounds[task]
    statement: bytes32 = keccak256(
        abi_encode(
            MODEL_TYPE,
            task,
            round,
            attempt,
            slots.parent,
            inputs,
            aggregate,
            model,
            slots.survivors,
        )
    )
    self._check_quorum(slots.members, signers, [self._digest(statement)], signatures)
    log Finalised(
        task=task,
        round=round,
        attempt=attempt,
        parent=slots.parent,
        inputs=inputs,
        aggregate=aggregate,
        model=model,
        survivors=slots.survivors,
        members=slots.members,
        dealt=self._dealt(terms, slots.expected),
        signers=signers,
        time=block.timestamp,
        commits=self._commits_of(task, slots.survivors),
        signatures=signatures,
    )
    if round == terms.rounds:
        stage.phase = DONE
        self._rounds[task].parent = model
        self._put_stage(task, stage)
    else:
        # it names what opens the commits: fixed before anyone's was shown, so no single member could choose it
        self._rounds[task].beacon = inputs
        self._open(task, round + 1, 0, model, slots.committed | self._tasks[task].coming, terms)


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
    stage: Stage = self._stage(task)
    assert stage.round == round and stage.attempt == attempt, "not this attempt"
    terms: Terms = self._terms(task)
    if stage.phase == FROZEN:
        assert block.timestamp >= stage.final_deadline, "before the deadline"
        if terms.sealed == 1:
            # nobody new: what they send beside the same contributions could be told from two sums
            self._tasks[task].coming = 0
        self._again(task, stage, self._rounds[task].survivors, terms)
    else:
        assert stage.phase == COMMIT, "not in this phase"
        assert block.timestamp >= stage.commit_deadline, "before the deadline"
        assert not self._is_closed(task, stage, terms), "commits are closed"
        outside: uint256 = self._tasks[task].granted & ~self._rounds[task].members
        if terms.sealed == 1:
            outside |= self._tasks[task].coming & ~self._rounds[task].expected
        assert outside != 0, "no one new could commit"
        self._again(task, stage, self._rounds[task].committed, terms)


@internal
def _open(
    task: uint256, round: uint256, attempt: uint256, parent: bytes32, expected: uint256, terms: Terms
):
    members: uint256 = max_value(uint256) >> (MAX_MEMBERS - self._member_count)
    awaited: uint256 = expected & self._tasks[task].granted & members
    deadline: uint256 = block.timestamp + (terms.train_seconds << min(attempt, MAX_DOUBLINGS))
    self._tasks[task].coming = 0
    self._rounds[task].parent = parent
    self._rounds[task].members = members
    self._rounds[task].expected = awaited
    self._rounds[task].committed = 0
    self._rounds[task].survivors = 0
    self._put_stage(
        task,
        Stage(
            phase=COMMIT,
            round=round,
            attempt=attempt,
            commit_deadline=deadline,
            closed_at=0,
            final_deadline=0,
        ),
    )
    log Opened(
        task=task,
        round=round,
        attempt=attempt,
        parent=parent,
        members=members,
        expected=awaited,
        commit_deadline=deadline,
    )


@internal
def _again(task: uint256, stage: Stage, expected: uint256, terms: Terms):
    log Retried(task=task, round=stage.round, attempt=stage.attempt + 1)
    self._open(
        task,
        stage.round,
        stage.attempt + 1,
        self._rounds[task].parent,
        expected | self._tasks[task].coming,
        terms,
    )


@internal
@view
def _is_closed(task: uint256, stage: Stage, terms: Terms) -> bool:
    if stage.closed_at != 0:
        return True
    if block.timestamp < stage.commit_deadline:
        return False
    return self._count(self._rounds[task].committed) >= terms.min_members


@internal
def _close_if_complete(task: uint256, stage: Stage, terms: Terms):
    # called on commits that were open a moment ago: past the deadline they close with the minimum's commit
    committed: uint256 = self._rounds[task].committed
    if self._count(committed) < terms.min_members:
        return
    missing: uint256 = self._rounds[task].expected & self._tasks[task].granted & ~committed
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
def _check_quorum(
    members: uint256,
    signers: uint256,
    digests: DynArray[bytes32, MAX_MEMBERS],
    signatures: Bytes[MAX_SIGNATURES],
):
    # digests: one for each signer, ascending, or a single one that all have signed
    n: uint256 = self._count(members)
    count: uint256 = self._count(signers)
    assert signers & ~members == 0, "signer is not in the snapshot"
    assert count >= (n + (n - 1) // 3) // 2 + 1, "no quorum"
    assert len(signatures) == 65 * count, "signatures do not match signers"
    at: uint256 = 0
    for i: uint256 in range(MAX_MEMBERS):
        left: uint256 = signers >> i
        if left == 0:
            break
        if left & 1 == 0:
            continue
        digest: bytes32 = digests[0]
        if len(digests) > 1:
            digest = digests[at]
        signer: address = self._recover(
            digest,
            extract32(signatures, 65 * at),
            extract32(signatures, 65 * at + 32),
            convert(extract32(signatures, 65 * at + 33), uint256) & 255,
        )
        assert signer == self._accounts[i], "signature is not the signer's"
        at += 1


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
def _recover(digest: bytes32, r: bytes32, s: bytes32, v: uint256) -> address:
    assert convert(s, uint256) <= convert(HALF_ORDER, uint256) and (v == 27 or v == 28), "signature is malleable"
    signer: address = ecrecover(digest, v, r, s)
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
        sealed=word >> 160,
    )


@internal
@view
def _stage(task: uint256) -> Stage:
    word: uint256 = self._rounds[task].stage
    return Stage(
        phase=word & 255,
        round=(word >> 8) & (2**32 - 1),
        attempt=(word >> 40) & (2**32 - 1),
        commit_deadline=(word >> 72) & (2**48 - 1),
        closed_at=(word >> 120) & (2**48 - 1),
        final_deadline=word >> 168,
    )


@internal
@view
def _stage_at(task: uint256, round: uint256, attempt: uint256, phase: uint256) -> Stage:
    stage: Stage = self._stage(task)
    assert stage.round == round and stage.attempt == attempt, "not this attempt"
    assert stage.phase == phase, "not in this phase"
    return stage


@internal
@pure
def _dealt(terms: Terms, expected: uint256) -> uint256:
    return expected if terms.sealed == 1 else 0


@internal
def _put_stage(task: uint256, stage: Stage):
    self._rounds[task].stage = (
        stage.phase
        | (stage.round << 8)
        | (stage.attempt << 40)
        | (stage.commit_deadline << 72)
        | (stage.closed_at << 120)
        | (stage.final_deadline << 168)
    )


@internal
@view
def _commits_of(task: uint256, members: uint256) -> DynArray[bytes32, MAX_MEMBERS]:
    commits: DynArray[bytes32, MAX_MEMBERS] = []
    for i: uint256 in range(MAX_MEMBERS):
        left: uint256 = members >> i
        if left == 0:
            break
        if left & 1 == 1:
            commits.append(self._commits[task][i])
    return commits


# ---------------------------------------------------------------- reading

@external
@view
def about() -> (String[64], uint256, address, uint256):
    """
    @notice What was fixed when the moot was founded.
    @return Its name, its seats, the founding voucher, and the block it was deployed in.
    """
    return NAME, SEATS, VOUCHER, BORN


@external
@view
def counts() -> (uint256, uint256, uint256):
    """
    @notice How much there is.
    @return The numbers of members, of datasets and of tasks.
    """
    return self._member_count, self._dataset_count, self._task_count


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
def members(start: uint256) -> DynArray[Member, PAGE]:
    """
    @notice A page of members, in the order they joined.
    @param start Index of the first one wanted.
    @return Up to 32 of them; the first has index `start`.
    """
    page: DynArray[Member, PAGE] = []
    for i: uint256 in range(PAGE):
        if start + i >= self._member_count:
            break
        page.append(self._profiles[start + i])
    return page


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
        page.append(Dataset(owner=slots.word >> 64, card=slots.card, records=slots.word & (2**64 - 1)))
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
                granted=slots.granted,
                barred=slots.barred,
            )
        )
    return page


@external
@view
def grant_of(task: uint256, member: uint256) -> (uint256, uint256):
    """
    @notice The dataset a member has granted to a task.
    @param task The task.
    @param member Index of the member.
    @return The dataset's id, 0 if there is no live grant; and what may be spent of its privacy, in millionths of
            epsilon, 0 for no limit.
    """
    word: uint256 = self._grants[task][member]
    return word & (2**128 - 1), word >> 128


@external
@view
def round_view(task: uint256) -> RoundView:
    """
    @notice Everything about the round being made, in one read.
    @param task The task.
    @return The fields of `folkmoot.ledger.records.RoundView`, without the task. `expected` leaves out members
            who have withdrawn their grant; `dealt` is whom a sealed attempt was opened to, whatever they did since.
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
        expected=slots.expected & self._tasks[task].granted,
        dealt=self._dealt(terms, slots.expected),
        committed=slots.committed,
        survivors=slots.survivors,
        commit_deadline=stage.commit_deadline,
        closed_at=stage.closed_at,
        final_deadline=stage.final_deadline,
        min_members=terms.min_members,
        exchange_seconds=terms.exchange_seconds,
        commits=self._commits_of(task, slots.committed),
    )
