# pragma version 0.4.3
# pragma evm-version london
# pragma optimize gas
"""
@title Purse
@license Apache-2.0
@notice The bounties of one moot's tasks: set aside in any ERC-20 or in the moot's points, split by what a quorum
        of members says that each has earned, and claimed by them. It also takes the scores by which they agree
        on that: sealed first, opened once all are sealed.
@dev A pot is what is set aside for one task in one token. Of it, as much may be paid out as rounds are final; all
     of it once the task is done. A payment goes to members by weights: each gets the difference of two cumulative
     sums, rounded down, so that the parts always add up to the whole. What one token does can harm no pot in
     another: no sum ever crosses tokens.
"""

from ethereum.ercs import IERC20

MAX_MEMBERS: constant(uint256) = 256
MAX_SIGNATURES: constant(uint256) = 65 * 256
MAX_SCORES: constant(uint256) = 16_384
MAX_AMOUNT: constant(uint256) = 2**160
MAX_WEIGHT: constant(uint256) = 2**64
# scores are told every so many rounds, and when a task is done: were any round's end good enough, one member could
# open and outwait the window of a season before the others know that it has ended
SEASON: constant(uint256) = 100

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Folkmoot")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
SPLIT_TYPE: constant(bytes32) = keccak256("Split(uint256 task,uint256 first,uint256 last,bytes32 weights)")
# half the order of secp256k1: a signature with a larger s is the mirror image of one with a smaller
HALF_ORDER: constant(bytes32) = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


interface Work:
    def number_of(account: address) -> uint256: view
    def accounts_of(member: uint256) -> (address, address): view
    def living() -> uint256: view
    def progress(task: uint256) -> (uint256, uint256, uint256, uint256): view


interface Mint:
    def mint(amount: uint256): nonpayable


struct Pot:
    funded: uint256
    released: uint256
    last: uint256


MOOT: immutable(address)
ASSEMBLY: immutable(address)
POINTS: immutable(address)

_pots: HashMap[uint256, HashMap[address, Pot]]
_deposits: HashMap[uint256, HashMap[address, HashMap[address, uint256]]]
_owed: HashMap[address, uint256[MAX_MEMBERS]]
# for a task and the last round of a season: when sealing ends, and what each member has sealed
_sealing: HashMap[uint256, HashMap[uint256, uint256]]
_sealed: HashMap[uint256, HashMap[uint256, bytes32[MAX_MEMBERS]]]

event Funded:
    task: indexed(uint256)
    token: indexed(address)
    funder: indexed(address)
    amount: uint256


event Sealed:
    task: indexed(uint256)
    last: indexed(uint256)
    member: indexed(uint256)
    hash: bytes32
    until: uint256


event Unsealed:
    task: indexed(uint256)
    last: indexed(uint256)
    member: indexed(uint256)
    scores: Bytes[MAX_SCORES]


event Settled:
    task: indexed(uint256)
    token: indexed(address)
    first: uint256
    last: uint256
    amount: uint256
    weights: DynArray[uint256, MAX_MEMBERS]
    signers: uint256


event Claimed:
    token: indexed(address)
    member: indexed(uint256)
    account: address
    amount: uint256


event Reclaimed:
    task: indexed(uint256)
    token: indexed(address)
    funder: indexed(address)
    amount: uint256


event Founded:
    moot: indexed(address)


@deploy
def __init__(moot: address, assembly: address, points: address):
    """
    @param moot The contract of the moot's work.
    @param assembly The contract of its members.
    @param points The contract of its points.
    """
    MOOT = moot
    ASSEMBLY = assembly
    POINTS = points
    log Founded(moot=moot)


# ---------------------------------------------------------------- setting aside

@external
@nonreentrant
def fund(task: uint256, token: address, amount: uint256):
    """
    @notice Set something aside for a task. The sender has approved it.
    @param task A task that is not done.
    @param token An ERC-20.
    @param amount How many units of it.
    """
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    assert extcall IERC20(token).transferFrom(msg.sender, self, amount, default_return_value=True)
    # a token may keep a part of what it moves: what counts is what came
    came: uint256 = staticcall IERC20(token).balanceOf(self) - before
    self._add(task, token, msg.sender, came)


@external
@nonreentrant
def endow(task: uint256, amount: uint256):
    """
    @notice Make points for a task's bounty. Only the assembly decides that.
    @param task A task that is not done.
    @param amount How many.
    """
    assert msg.sender == ASSEMBLY, "only the assembly decides that"
    extcall Mint(POINTS).mint(amount)
    self._add(task, POINTS, ASSEMBLY, amount)


@internal
def _add(task: uint256, token: address, funder: address, amount: uint256):
    final: uint256 = 0
    rounds: uint256 = 0
    done: uint256 = 0
    seconds: uint256 = 0
    final, rounds, done, seconds = staticcall Work(MOOT).progress(task)
    assert done == 0, "task is done"
    funded: uint256 = self._pots[task][token].funded + amount
    assert amount > 0 and funded < MAX_AMOUNT, "amount out of bounds"
    self._pots[task][token].funded = funded
    self._deposits[task][token][funder] += amount
    log Funded(task=task, token=token, funder=funder, amount=amount)


@external
@nonreentrant
def reclaim(task: uint256, token: address):
    """
    @notice Take back what the sender has set aside for a task that was stopped before any round was final.
    @param task The task.
    @param token The ERC-20.
    """
    final: uint256 = 0
    rounds: uint256 = 0
    done: uint256 = 0
    seconds: uint256 = 0
    final, rounds, done, seconds = staticcall Work(MOOT).progress(task)
    assert done == 1 and final == 0, "it is the members'"
    amount: uint256 = self._deposits[task][token][msg.sender]
    assert amount > 0, "nothing of yours"
    self._deposits[task][token][msg.sender] = 0
    self._pots[task][token].funded -= amount
    log Reclaimed(task=task, token=token, funder=msg.sender, amount=amount)
    assert extcall IERC20(token).transfer(msg.sender, amount, default_return_value=True)


# ---------------------------------------------------------------- scores

@external
def seal(task: uint256, last: uint256, hash: bytes32):
    """
    @notice Fix one's scores before anyone shows any. The first to do so for a season opens its window, as long as
            the task's exchange.
    @param task The task.
    @param last The last round that they are about: a final one whose number is a multiple of 100, or the last of a
           task that is done.
    @param hash keccak256 of the member's index, a salt (32 bytes each) and the scores.
    """
    member: uint256 = self._member()
    final: uint256 = 0
    rounds: uint256 = 0
    done: uint256 = 0
    seconds: uint256 = 0
    final, rounds, done, seconds = staticcall Work(MOOT).progress(task)
    assert 0 < last and last <= final, "not a final round"
    assert last % SEASON == 0 or (done == 1 and last == final), "not the end of a season"
    assert hash != empty(bytes32), "hash is empty"
    until: uint256 = self._sealing[task][last]
    if until == 0:
        until = block.timestamp + seconds
        self._sealing[task][last] = until
    assert block.timestamp < until, "sealing is over"
    assert self._sealed[task][last][member] == empty(bytes32), "already sealed"
    self._sealed[task][last][member] = hash
    log Sealed(task=task, last=last, member=member, hash=hash, until=until)


@external
def unseal(task: uint256, last: uint256, salt: bytes32, scores: Bytes[MAX_SCORES]):
    """
    @notice Show one's scores, once sealing is over.
    @param task The task.
    @param last The last round that they are about.
    @param salt What was hashed beside them.
    @param scores The scores, as `folkmoot.reward` encodes them.
    """
    member: uint256 = self._member()
    until: uint256 = self._sealing[task][last]
    assert until != 0 and block.timestamp >= until, "sealing is not over"
    hash: bytes32 = keccak256(concat(convert(member, bytes32), salt, scores))
    assert self._sealed[task][last][member] == hash, "not what was sealed"
    self._sealed[task][last][member] = empty(bytes32)
    log Unsealed(task=task, last=last, member=member, scores=scores)


@internal
@view
def _member() -> uint256:
    number: uint256 = staticcall Work(MOOT).number_of(msg.sender)
    assert number != 0, "not a member"
    return number - 1


# ---------------------------------------------------------------- paying out

@external
@nonreentrant
def settle(
    task: uint256,
    token: address,
    last: uint256,
    weights: DynArray[uint256, MAX_MEMBERS],
    signers: uint256,
    signatures: Bytes[MAX_SIGNATURES],
):
    """
    @notice Split what of a pot has become due between members, by the word of a quorum of all members.
    @param task The task.
    @param token The pot's ERC-20.
    @param last The last final round that is paid for; the first is the one after the last settlement's.
    @param weights For each member, by index, its part; below 2**64 each, not all zero.
    @param signers Bitmap of those who sign.
    @param signatures For each, ascending, 65 bytes r, s, v: EIP-712 `Split`, whose `weights` is the keccak256 of
           the words of the list.
    """
    pot: Pot = self._pots[task][token]
    final: uint256 = 0
    rounds: uint256 = 0
    done: uint256 = 0
    seconds: uint256 = 0
    final, rounds, done, seconds = staticcall Work(MOOT).progress(task)
    # without any round a pot is its funders' to take back; a task that was stopped after its last settlement leaves a
    # rest
    assert 0 < last and last <= final and (pot.last < last or (done == 1 and last == final)), "not a season to settle"
    due: uint256 = pot.funded
    if done == 0 or last < final:
        due = pot.funded * last // rounds
    amount: uint256 = due - pot.released
    assert amount > 0, "nothing is due"
    first: uint256 = pot.last + 1
    hash: bytes32 = keccak256(slice(abi_encode(weights), 64, 32 * len(weights)))
    statement: bytes32 = keccak256(abi_encode(SPLIT_TYPE, task, first, last, hash))
    self._check_quorum(statement, signers, signatures)
    self._pots[task][token].released = due
    self._pots[task][token].last = last
    self._share(token, amount, weights)
    log Settled(
        task=task, token=token, first=first, last=last, amount=amount, weights=weights, signers=signers
    )


@internal
def _share(token: address, amount: uint256, weights: DynArray[uint256, MAX_MEMBERS]):
    total: uint256 = 0
    for weight: uint256 in weights:
        assert weight < MAX_WEIGHT, "weight out of bounds"
        total += weight
    assert total > 0, "nobody would be paid"
    member: uint256 = 0
    sum: uint256 = 0
    paid: uint256 = 0
    for weight: uint256 in weights:
        if weight > 0:
            sum += weight
            upto: uint256 = amount * sum // total
            self._owed[token][member] += upto - paid
            paid = upto
        member += 1


@internal
@view
def _check_quorum(statement: bytes32, signers: uint256, signatures: Bytes[MAX_SIGNATURES]):
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self))
    digest: bytes32 = keccak256(concat(b"\x19\x01", domain, statement))
    living: uint256 = staticcall Work(MOOT).living()
    assert signers & ~living == 0, "signer is not a member"
    n: uint256 = 0
    count: uint256 = 0
    for i: uint256 in range(MAX_MEMBERS):
        if living >> i == 0:
            break
        n += (living >> i) & 1
        if (signers >> i) & 1 == 0:
            continue
        at: uint256 = 65 * count
        assert len(signatures) >= at + 65, "signatures do not match signers"
        s: uint256 = extract32(signatures, at + 32, output_type=uint256)
        v: uint256 = extract32(signatures, at + 33, output_type=uint256) & 255
        assert s <= convert(HALF_ORDER, uint256) and (v == 27 or v == 28), "signature is malleable"
        account: address = empty(address)
        main: address = empty(address)
        account, main = staticcall Work(MOOT).accounts_of(i)
        signer: address = ecrecover(digest, v, extract32(signatures, at, output_type=uint256), s)
        assert signer == account and signer != empty(address), "signature is not the signer's"
        count += 1
    assert len(signatures) == 65 * count, "signatures do not match signers"
    assert n > 0 and count >= (n + (n - 1) // 3) // 2 + 1, "no quorum"


@external
@nonreentrant
def claim(token: address, member: uint256):
    """
    @notice Pay a member what it has earned, to its main account. Anyone may have it paid.
    @param token The ERC-20.
    @param member Index of the member; one that was removed keeps what it has earned.
    """
    amount: uint256 = self._owed[token][member]
    account: address = empty(address)
    main: address = empty(address)
    account, main = staticcall Work(MOOT).accounts_of(member)
    assert amount > 0 and main != empty(address), "nothing is owed"
    self._owed[token][member] = 0
    log Claimed(token=token, member=member, account=main, amount=amount)
    assert extcall IERC20(token).transfer(main, amount, default_return_value=True)


# ---------------------------------------------------------------- reading

@external
@view
def about() -> (address, address, address):
    """
    @notice What was fixed when the moot was founded.
    @return The contracts of its work, of its members, of its points.
    """
    return MOOT, ASSEMBLY, POINTS


@external
@view
def pot(task: uint256, token: address) -> (uint256, uint256, uint256):
    """
    @notice What is set aside for a task.
    @param task The task.
    @param token The ERC-20.
    @return All that was funded, what of it is split already, and the last round it was split for.
    """
    found: Pot = self._pots[task][token]
    return found.funded, found.released, found.last


@external
@view
def owed(token: address, member: uint256) -> uint256:
    """
    @notice What a member has earned and not claimed.
    @param token The ERC-20.
    @param member Index of the member, up to 255.
    @return Units of the token.
    """
    return self._owed[token][member]


@external
@view
def sealing(task: uint256, last: uint256) -> uint256:
    """
    @notice When the sealing of a season's scores ends.
    @param task The task.
    @param last The last round they are about.
    @return Ledger time; 0 when nobody has sealed any.
    """
    return self._sealing[task][last]
