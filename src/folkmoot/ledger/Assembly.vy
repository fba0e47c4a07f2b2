# pragma version 0.4.3
# pragma evm-version london
# pragma optimize gas
"""
@title Assembly
@license Apache-2.0
@notice The members of one moot, how newcomers come in, and what all decide together. What a motion that has
        passed says, this contract does, here or in the moot's other contract, `Moot.vy`. Nobody else can.
@dev One member has one vote, unless a motion gives it another weight. A vote is cast once and stands. A motion
     has passed when those for it outweigh its threshold among all members there are. That is counted when it is
     enacted, so one that has passed should be enacted before members, weights or rules change. Where a moot
     continues another one, the members of that which have yet to join count among all, too.
     A set of members is a bitmap, as in `Moot.vy`. Only opcodes of London are used.
"""

# ---------------------------------------------------------------- bounds

MAX_MEMBERS: constant(uint256) = 256
PAGE: constant(uint256) = 32
MIN_WINDOW: constant(uint256) = 10
MAX_WINDOW: constant(uint256) = 90 * 86_400
MAX_WEIGHT: constant(uint256) = 1_000_000
MAX_OPEN: constant(uint256) = 8
SPENT: constant(uint256) = 1
ELDER: constant(uint256) = 2

# what a motion asks for, as `folkmoot.ledger.motions.Kind` numbers it, and what its three words mean
ADMIT: constant(uint256) = 1  # the voucher's address: its holder may join, once, within the motion's window from then
REMOVE: constant(uint256) = 2  # a member
REKEY: constant(uint256) = 3  # a member, its new main account
STEER: constant(uint256) = 4  # a task, its standing: 1 adopted, 2 paused, 3 stopped
BOUND: constant(uint256) = 5  # the fewest min_members of later tasks, 1 where they must be sealed
WEIGH: constant(uint256) = 6  # a member, the weight of its vote
RULES: constant(uint256) = 7  # percent for ordinary motions, for grave ones, the window in seconds
RETIRE: constant(uint256) = 8  # the successor's chain, its address, the hash of the state it takes over
ENDOW: constant(uint256) = 9  # a task, the points made for its bounty

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Folkmoot")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
VOUCHER_TYPE: constant(bytes32) = keccak256("Voucher(address applicant)")
DELEGATION_TYPE: constant(bytes32) = keccak256("Delegation(address main)")
# half the order of secp256k1: a signature with a larger s is the mirror image of one with a smaller
HALF_ORDER: constant(bytes32) = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


interface Work:
    def seat(account: address) -> uint256: nonpayable
    def use(member: uint256, account: address, main: address): nonpayable
    def remove(member: uint256): nonpayable
    def steer(task: uint256, standing: uint256): nonpayable
    def bound(min_members: uint256, sealed: uint256): nonpayable
    def retire(chain_id: uint256, successor: address, state: bytes32): nonpayable
    def number_of(account: address) -> uint256: view
    def accounts_of(member: uint256) -> (address, address): view
    def living() -> uint256: view
    def counts() -> (uint256, uint256, uint256): view
    def about() -> (uint256, address): view


interface Treasury:
    def endow(task: uint256, amount: uint256): nonpayable


# ---------------------------------------------------------------- what is kept

struct Member:
    account: address
    main: address
    name: String[64]
    endpoint: bytes32
    exchange: bytes32
    binding: Bytes[64]
    addresses: String[512]
    since: uint256


struct Profile:
    name: String[64]
    endpoint: bytes32
    exchange: bytes32
    binding: Bytes[64]
    addresses: String[512]
    since: uint256  # the block in which these keys were put in use; 0: since it joined


struct Motion:
    id: uint256
    mover: uint256
    kind: uint256
    words: uint256[3]
    text: bytes32
    deadline: uint256
    ayes: uint256
    noes: uint256
    done: uint256
    passed: uint256
    window: uint256


# from the low end: mover 8 bits, kind 8, deadline 64, done 1, then from bit 88 the window it was moved with in 32, and
# how many members had been put out by then
struct MotionSlots:
    words: uint256[3]
    text: bytes32
    head: uint256
    ayes: uint256
    noes: uint256


MOOT: immutable(address)
NAME: immutable(String[64])
SEATS: immutable(uint256)
VOUCHER: immutable(address)
HERITAGE: immutable(bytes32)
ELDERS: immutable(bytes32)
PURSE: immutable(address)

_profiles: HashMap[uint256, Profile]
_owner: HashMap[bytes32, uint256]  # index + 1 of whose a name (hashed), endpoint or exchange key ever was
# vouchers. 1: has admitted a member, 2: an elder's; else until when one that was voted for admits, 64 bits, and above them
# how many members had been put out when it was
_usable: HashMap[address, uint256]
_removals: uint256  # how many members were ever put out
_awaited: uint256  # elders that have not joined yet

_rules: uint256  # percent for ordinary motions 8 bits, for grave ones 8, window in seconds above
_weighed: uint256  # bitmap of members whose weight is not 1
_weights: uint256[MAX_MEMBERS]
_motion_count: uint256
_open: HashMap[uint256, uint256]  # of each member the last motions that it moved and that were open then, 32 bits each
_motions: HashMap[uint256, MotionSlots]

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


event Delegated:
    member: indexed(uint256)
    account: indexed(address)
    endpoint: bytes32
    exchange: bytes32
    since: uint256


event Moved:
    motion: indexed(uint256)
    mover: indexed(uint256)
    kind: uint256
    words: uint256[3]
    text: bytes32
    deadline: uint256


event Voted:
    motion: indexed(uint256)
    member: indexed(uint256)
    aye: uint256


event Enacted:
    motion: indexed(uint256)
    ayes: uint256
    noes: uint256


# ---------------------------------------------------------------- members

@deploy
def __init__(
    moot: address,
    name: String[64],
    seats: uint256,
    voucher: address,
    heritage: bytes32,
    elders: DynArray[address, MAX_MEMBERS],
    purse: address,
    rules: uint256[3],
    founder: String[64],
    endpoint: bytes32,
    exchange: bytes32,
    binding: Bytes[64],
    addresses: String[512],
):
    """
    @notice Found a moot's assembly. The sender has deployed the moot, is its member 0, and keeps no other privilege.
    @param moot The contract of its work.
    @param name What the moot is called, 1 to 64 bytes.
    @param seats Until the moot has this many members, or puts one out, the founding voucher admits further ones;
           1 to 256.
    @param voucher Address of the founding voucher's key.
    @param heritage Hash of the state of the moot that this one continues; zero for none.
    @param elders Accounts of the members of that one: the key of each is a voucher.
    @param purse Where its bounties are kept and its points made.
    @param rules As in a motion of that kind.
    @param founder The founder's name as a member; the other arguments are as in `join`.
    """
    assert len(name) > 0, "moot has no name"
    assert 0 < seats and seats <= MAX_MEMBERS, "seats out of bounds"
    MOOT = moot
    NAME = name
    SEATS = seats
    VOUCHER = voucher
    HERITAGE = heritage
    # whoever joins can see whether anyone can come in besides, without a vote
    ELDERS = keccak256(abi_encode(elders))
    PURSE = purse
    born: uint256 = 0
    assembly: address = empty(address)
    born, assembly = staticcall Work(moot).about()
    assert assembly == self, "the moot has another assembly"
    assert staticcall Work(moot).number_of(msg.sender) == 1, "not the moot's founder"
    self._set_rules(rules)
    for elder: address in elders:
        assert self._usable[elder] == 0, "elder is named twice"
        self._usable[elder] = ELDER
    self._awaited = len(elders)
    self._enter(0, empty(address), founder, endpoint, exchange, binding, addresses)


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
    statement: bytes32 = keccak256(abi_encode(VOUCHER_TYPE, msg.sender))
    voucher: address = self._signer(statement, voucher_signature)
    count: uint256 = 0
    datasets: uint256 = 0
    tasks: uint256 = 0
    count, datasets, tasks = staticcall Work(MOOT).counts()
    # who was put out may still have the founding voucher: from then on newcomers need votes
    if voucher != VOUCHER or count >= SEATS or self._removals > 0:
        assert self._is_usable(voucher), "voucher is not usable"
        if self._usable[voucher] == ELDER:
            self._awaited -= 1
        self._usable[voucher] = SPENT
    index: uint256 = extcall Work(MOOT).seat(msg.sender)
    self._enter(index, voucher, name, endpoint, exchange, binding, addresses)


@internal
@view
def _is_usable(voucher: address) -> bool:
    word: uint256 = self._usable[voucher]
    # whoever is put out may hold a voucher that was voted for before: it admits nobody any more
    return word == ELDER or (word >> 64 == self._removals and word & (2**64 - 1) > max(block.timestamp, ELDER))


@internal
@view
def _signer(statement: bytes32, signature: Bytes[65]) -> address:
    assert len(signature) == 65, "signature is not 65 bytes"
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self))
    s: uint256 = extract32(signature, 32, output_type=uint256)
    v: uint256 = extract32(signature, 33, output_type=uint256) & 255
    assert s <= convert(HALF_ORDER, uint256) and (v == 27 or v == 28), "signature is malleable"
    digest: bytes32 = keccak256(concat(b"\x19\x01", domain, statement))
    signer: address = ecrecover(digest, v, extract32(signature, 0, output_type=uint256), s)
    assert signer != empty(address), "signature is invalid"
    return signer


@internal
def _enter(
    index: uint256,
    voucher: address,
    name: String[64],
    endpoint: bytes32,
    exchange: bytes32,
    binding: Bytes[64],
    addresses: String[512],
):
    assert len(name) > 0, "member has no name"
    self._take(index, keccak256(name), "name is taken")
    self._profiles[index].name = name
    self._profiles[index].addresses = addresses
    self._put_keys(index, endpoint, exchange, binding)
    log Joined(
        member=index, account=msg.sender, voucher=voucher, name=name, endpoint=endpoint, exchange=exchange
    )


@internal
def _put_keys(index: uint256, endpoint: bytes32, exchange: bytes32, binding: Bytes[64]):
    # the kinds share one map: none can be mistaken for another, each being a hash or a public key
    assert len(binding) == 64, "binding is not 64 bytes"
    assert endpoint != empty(bytes32) and exchange != empty(bytes32), "key is empty"
    self._take(index, endpoint, "endpoint is taken")
    self._take(index, exchange, "exchange key is taken")
    self._profiles[index].endpoint = endpoint
    self._profiles[index].exchange = exchange
    self._profiles[index].binding = binding


@internal
def _take(index: uint256, token: bytes32, reason: String[32]):
    owner: uint256 = self._owner[token]
    assert owner == 0 or owner == index + 1, reason
    self._owner[token] = index + 1


@external
def announce(addresses: String[512]):
    """
    @notice Say where the sender's peer can be reached from now on.
    @param addresses Comma-separated host:port; may be empty.
    """
    number: uint256 = staticcall Work(MOOT).number_of(msg.sender)
    assert number != 0, "not a member"
    self._profiles[number - 1].addresses = addresses
    log Announced(member=number - 1, addresses=addresses)


@external
def delegate(account: address, endpoint: bytes32, exchange: bytes32, binding: Bytes[64], consent: Bytes[65]):
    """
    @notice Put another account and other keys in daily use, at once; those before count for nothing more. Only
            the sender's main account can, and it may name itself. Masks of an attempt are made with the exchange keys
            that stood before the block it opened in, so the sender sits out those that are under way.
    @param account Signs statements and transactions from now on, but grants, votes and delegates nothing.
    @param endpoint As in `join`, never another member's.
    @param exchange As in `join`, never another member's.
    @param binding As in `join`, by the new endpoint's key, over the new account.
    @param consent EIP-712 `Delegation(main = sender)` by the new account's key, lest one takes another's; empty when
           that is the sender's own.
    """
    index: uint256 = self._voter()
    if account != msg.sender:
        statement: bytes32 = keccak256(abi_encode(DELEGATION_TYPE, msg.sender))
        assert self._signer(statement, consent) == account, "the account has not agreed"
    self._put_keys(index, endpoint, exchange, binding)
    self._profiles[index].since = block.number
    extcall Work(MOOT).use(index, account, msg.sender)
    log Delegated(member=index, account=account, endpoint=endpoint, exchange=exchange, since=block.number)


@internal
@view
def _voter() -> uint256:
    number: uint256 = staticcall Work(MOOT).number_of(msg.sender)
    assert number != 0, "not a member"
    account: address = empty(address)
    main: address = empty(address)
    account, main = staticcall Work(MOOT).accounts_of(number - 1)
    assert main == msg.sender, "only the main account may"
    return number - 1


# ---------------------------------------------------------------- motions

@external
def move(kind: uint256, words: uint256[3], text: bytes32) -> uint256:
    """
    @notice Put something to the vote. The sender's own vote is for it. Eight of its motions may be open at a time.
    @param kind What is asked for: one of the kinds above.
    @param words What it is asked for; those that its kind has no use for are zero.
    @param text Hash of the reasons given, zero for none.
    @return The motion's id, from 1.
    """
    mover: uint256 = self._voter()
    assert 0 < kind and kind <= ENDOW, "no such kind of motion"
    motion: uint256 = self._motion_count + 1
    self._take_place(mover, motion)
    window: uint256 = self._rules >> 16
    deadline: uint256 = block.timestamp + window
    self._motion_count = motion
    self._motions[motion].words = words
    self._motions[motion].text = text
    self._motions[motion].head = mover | (kind << 8) | (deadline << 16) | (window << 88) | (self._removals << 120)
    log Moved(motion=motion, mover=mover, kind=kind, words=words, text=text, deadline=deadline)
    self._motions[motion].ayes = 1 << mover
    log Voted(motion=motion, member=mover, aye=1)
    return motion


@internal
def _take_place(mover: uint256, motion: uint256):
    # everyone reads what is open: nobody may fill it alone
    places: uint256 = self._open[mover]
    for i: uint256 in range(MAX_OPEN):
        at: uint256 = 32 * i
        head: uint256 = self._motions[(places >> at) & (2**32 - 1)].head
        if (head >> 80) & 1 == 1 or block.timestamp >= (head >> 16) & (2**64 - 1):
            self._open[mover] = (places & ~((2**32 - 1) << at)) | (motion << at)
            return
    raise "too many open motions of this member"


@external
def vote(motion: uint256, aye: uint256):
    """
    @notice Vote on a motion, once, while its window is open. Only the sender's main account can.
    @param motion The motion.
    @param aye 1: for it, 0: against it.
    """
    index: uint256 = self._voter()
    head: uint256 = self._open_head(motion)
    assert aye <= 1, "a vote is 0 or 1"
    assert block.timestamp < (head >> 16) & (2**64 - 1), "the window is over"
    ayes: uint256 = self._motions[motion].ayes
    noes: uint256 = self._motions[motion].noes
    assert ((ayes | noes) >> index) & 1 == 0, "already voted"
    if aye == 1:
        self._motions[motion].ayes = ayes | (1 << index)
    else:
        self._motions[motion].noes = noes | (1 << index)
    log Voted(motion=motion, member=index, aye=aye)


@external
def enact(motion: uint256):
    """
    @notice Do what a motion says that has passed. Anyone can, until as long after its window as that was.
    @param motion The motion.
    """
    head: uint256 = self._open_head(motion)
    deadline: uint256 = (head >> 16) & (2**64 - 1)
    window: uint256 = (head >> 88) & (2**32 - 1)
    assert block.timestamp < deadline + window, "too late to enact it"
    kind: uint256 = (head >> 8) & 255
    ayes: uint256 = self._motions[motion].ayes
    assert self._passes(kind, ayes), "it has not passed"
    self._motions[motion].head = head | (1 << 80)
    log Enacted(motion=motion, ayes=ayes, noes=self._motions[motion].noes)
    words: uint256[3] = self._motions[motion].words
    if kind == ADMIT:
        voucher: address = self._address(words[0])
        assert voucher != empty(address), "voucher is empty"
        # more than one may hold the founding voucher, and whoever used one has it still
        assert voucher != VOUCHER and self._usable[voucher] != SPENT, "voucher is used"
        assert head >> 120 == self._removals, "a member was put out since"
        if self._usable[voucher] != ELDER:
            self._usable[voucher] = (self._removals << 64) | (block.timestamp + window)
    elif kind == REMOVE:
        self._removals += 1
        extcall Work(MOOT).remove(words[0])
        assert self._weight(staticcall Work(MOOT).living()) > 0, "someone must be able to vote"
    elif kind == REKEY:
        main: address = self._address(words[1])
        extcall Work(MOOT).use(words[0], main, main)
    elif kind == STEER:
        extcall Work(MOOT).steer(words[0], words[1])
    elif kind == BOUND:
        extcall Work(MOOT).bound(words[0], words[1])
    elif kind == WEIGH:
        assert words[0] < MAX_MEMBERS and words[1] <= MAX_WEIGHT, "weight out of bounds"
        assert (staticcall Work(MOOT).living() >> words[0]) & 1 == 1, "no such member"
        self._weights[words[0]] = words[1]
        self._weighed |= 1 << words[0]
        assert self._weight(staticcall Work(MOOT).living()) > 0, "someone must be able to vote"
    elif kind == RULES:
        self._set_rules(words)
    elif kind == RETIRE:
        extcall Work(MOOT).retire(words[0], self._address(words[1]), convert(words[2], bytes32))
    else:
        extcall Treasury(PURSE).endow(words[0], words[1])


@internal
@view
def _open_head(motion: uint256) -> uint256:
    head: uint256 = self._motions[motion].head
    assert head != 0, "no such motion"
    assert (head >> 80) & 1 == 0, "already enacted"
    return head


@internal
@view
def _passes(kind: uint256, ayes: uint256) -> bool:
    rules: uint256 = self._rules
    percent: uint256 = rules & 255
    if kind <= REKEY or (kind >= WEIGH and kind <= RETIRE):
        percent = (rules >> 8) & 255
    living: uint256 = staticcall Work(MOOT).living()
    # elders that have yet to come count among all: whoever founds a successor decides nothing there alone
    return 100 * self._weight(ayes & living) > percent * (self._weight(living) + self._awaited)


@internal
@view
def _weight(members: uint256) -> uint256:
    weighed: uint256 = members & self._weighed
    total: uint256 = 0
    plain: uint256 = members & ~weighed
    for i: uint256 in range(MAX_MEMBERS):
        if (plain | weighed) >> i == 0:
            break
        if (weighed >> i) & 1 == 1:
            total += self._weights[i]
        else:
            total += (plain >> i) & 1
    return total


@internal
@pure
def _address(word: uint256) -> address:
    assert word < 2**160, "not an address"
    return convert(word, address)


@internal
def _set_rules(words: uint256[3]):
    # below a half two motions that contradict each other could both pass; at 100 none could
    assert 50 <= words[0] and words[0] <= words[1] and words[1] < 100, "percent out of bounds"
    assert MIN_WINDOW <= words[2] and words[2] <= MAX_WINDOW, "window out of bounds"
    self._rules = words[0] | (words[1] << 8) | (words[2] << 16)


# ---------------------------------------------------------------- reading

@external
@view
def about() -> (address, String[64], uint256, address, bytes32, address, bytes32):
    """
    @notice What was fixed when the moot was founded.
    @return The contract of its work, its name, its seats, the founding voucher, its heritage, its purse, and the
            hash of the list of its elders, as the ABI encodes it.
    """
    return MOOT, NAME, SEATS, VOUCHER, HERITAGE, PURSE, ELDERS


@external
@view
def rules() -> (uint256, uint256, uint256, uint256):
    """
    @notice How motions pass, and how many there are.
    @return Percent that ordinary motions must outweigh, percent that grave ones must (removal, keys, weights, rules,
            retirement, admission), the window in seconds, the number of motions so far.
    """
    rules: uint256 = self._rules
    return rules & 255, (rules >> 8) & 255, rules >> 16, self._motion_count


@external
@view
def awaited() -> uint256:
    """
    @notice How many members of the moot that this one continues can still come in by their own keys.
    @return Their number; 0 where it continues none.
    """
    return self._awaited


@external
@view
def weight_of(member: uint256) -> uint256:
    """
    @notice The weight of a member's vote.
    @param member Index of the member, up to 255.
    @return 1, or what a motion has made of it.
    """
    return self._weights[member] if (self._weighed >> member) & 1 == 1 else 1


@external
@view
def is_usable(voucher: address) -> uint256:
    """
    @notice Whether a voucher that was voted for, or an elder's, still admits a member.
    @param voucher Address of the voucher's key.
    @return 1 if it does, else 0.
    """
    return 1 if self._is_usable(voucher) else 0


@external
@view
def members(start: uint256) -> DynArray[Member, PAGE]:
    """
    @notice A page of members, in the order they joined, removed ones included.
    @param start Index of the first one wanted.
    @return Up to 32 of them; the first has index `start`. `since` is the block, as `block.number` has it, in which the
            member put its keys in use; 0 where they are those that it joined with.
    """
    count: uint256 = 0
    datasets: uint256 = 0
    tasks: uint256 = 0
    count, datasets, tasks = staticcall Work(MOOT).counts()
    page: DynArray[Member, PAGE] = []
    for i: uint256 in range(PAGE):
        if start >= count or i >= count - start:
            break
        profile: Profile = self._profiles[start + i]
        account: address = empty(address)
        main: address = empty(address)
        account, main = staticcall Work(MOOT).accounts_of(start + i)
        page.append(
            Member(
                account=account,
                main=main,
                name=profile.name,
                endpoint=profile.endpoint,
                exchange=profile.exchange,
                binding=profile.binding,
                addresses=profile.addresses,
                since=profile.since,
            )
        )
    return page


@external
@view
def motions(start: uint256) -> DynArray[Motion, PAGE]:
    """
    @notice A page of motions.
    @param start Id of the first one wanted; ids begin with 1.
    @return Up to 32 of them; the first has id `start`. `done` is 1 when it was enacted, `passed` 1 when it can be,
            as far as votes go.
    """
    page: DynArray[Motion, PAGE] = []
    for i: uint256 in range(PAGE):
        if start == 0 or start > self._motion_count or i > self._motion_count - start:
            break
        slots: MotionSlots = self._motions[start + i]
        kind: uint256 = (slots.head >> 8) & 255
        page.append(
            Motion(
                id=start + i,
                mover=slots.head & 255,
                kind=kind,
                words=slots.words,
                text=slots.text,
                deadline=(slots.head >> 16) & (2**64 - 1),
                ayes=slots.ayes,
                noes=slots.noes,
                done=(slots.head >> 80) & 1,
                passed=1 if self._passes(kind, slots.ayes) else 0,
                window=(slots.head >> 88) & (2**32 - 1),
            )
        )
    return page
