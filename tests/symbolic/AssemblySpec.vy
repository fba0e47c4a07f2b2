# pragma version 0.4.3
# pragma evm-version london
"""
@title AssemblySpec
@notice What the assembly may never do, whatever stands in its storage. This contract is the moot that it asks, and
        answers anything. In capitals: the slots of the assembly's storage.
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
SOMEBODY: constant(address) = 0x000000000000000000000000000000000005E4D5
MEMBER: constant(uint256) = 1
THE_SEATS: constant(uint256) = 3
THE_VOUCHER: constant(address) = 0x000000000000000000000000000000000000bEEF

# what the moot answers
the_number: uint256
the_main: address
the_living: uint256
the_count: uint256


@external
def setUp():
    creation: Bytes[30000] = extcall Vm(VM).getCode("out/Assembly.sol/Assembly.json", skip_contract_check=True)
    elders: DynArray[address, 256] = []
    rules: uint256[3] = [50, 66, 100]
    name: String[64] = "a moot"
    addresses: String[512] = ""
    binding: Bytes[64] = concat(keccak256("binding"), keccak256("binding"))
    self.the_number = 1
    made: address = raw_create(
        creation, self, name, THE_SEATS, THE_VOUCHER, empty(bytes32), elders, self, rules, name, keccak256("endpoint"),
        keccak256("exchange"), binding, addresses,
    )
    # what the constructor stored is left behind: nothing is known of the storage of the copy
    extcall Vm(VM).etch(THE_ASSEMBLY, slice(made.code, 0, ASSEMBLY_BYTES), skip_contract_check=True)
    extcall Svm(SVM).enableSymbolicStorage(THE_ASSEMBLY, skip_contract_check=True)
    self.the_number = MEMBER + 1


# ---------------------------------------------------------------- the moot, and the purse

@external
@view
def about() -> (uint256, address):
    return 0, msg.sender


@external
@view
def number_of(account: address) -> uint256:
    return self.the_number


@external
@view
def accounts_of(member: uint256) -> (address, address):
    return self.the_main, self.the_main


@external
@view
def living() -> uint256:
    return self.the_living


@external
@view
def counts() -> (uint256, uint256, uint256):
    return self.the_count, 0, 0


@external
def seat(account: address) -> uint256:
    return self.the_count


@external
def use(member: uint256, account: address, main: address):
    pass


@external
def remove(member: uint256):
    pass


@external
def steer(task: uint256, standing: uint256):
    pass


@external
def bound(min_members: uint256, sealed: uint256):
    pass


@external
def retire(chain_id: uint256, successor: address, state: bytes32):
    pass


@external
def endow(task: uint256, amount: uint256):
    pass


# ---------------------------------------------------------------- votes

@external
def check_a_member_votes_once(motion: uint256, aye: uint256):
    self.the_main = SOMEBODY
    bit: uint256 = 1 << MEMBER
    head: uint256 = self._load_map(MOTIONS, motion, 4)
    ayes: uint256 = self._load_map(MOTIONS, motion, 5)
    noes: uint256 = self._load_map(MOTIONS, motion, 6)
    if not self._call(SOMEBODY, abi_encode(motion, aye, method_id=method_id("vote(uint256,uint256)"))):
        return
    self._claim((ayes | noes) & bit == 0)
    self._claim(block.timestamp < (head >> 16) & (2**64 - 1) and (head >> 80) & 1 == 0)
    self._claim(self._load_map(MOTIONS, motion, 4) == head)
    if aye == 1:
        self._claim(self._load_map(MOTIONS, motion, 5) == ayes | bit and self._load_map(MOTIONS, motion, 6) == noes)
    else:
        self._claim(self._load_map(MOTIONS, motion, 6) == noes | bit and self._load_map(MOTIONS, motion, 5) == ayes)


@external
def check_only_a_main_account_decides(main: address, a: uint256, b: uint256, c: bytes32):
    self._assume(main != SOMEBODY)
    self.the_main = main
    self._never(SOMEBODY, abi_encode(a, b, method_id=method_id("vote(uint256,uint256)")))
    words: uint256[3] = [a, b, a]
    self._never(SOMEBODY, abi_encode(a, words, c, method_id=method_id("move(uint256,uint256[3],bytes32)")))
    self._never(SOMEBODY, self._delegate(main, c))


@external
def check_an_account_of_nobodys_decides_nothing(main: address, a: uint256, b: uint256, c: bytes32):
    self.the_number = 0
    self.the_main = SOMEBODY
    self._never(SOMEBODY, abi_encode(a, b, method_id=method_id("vote(uint256,uint256)")))
    words: uint256[3] = [a, b, a]
    self._never(SOMEBODY, abi_encode(a, words, c, method_id=method_id("move(uint256,uint256[3],bytes32)")))
    self._never(SOMEBODY, self._delegate(main, c))


@external
def check_an_account_is_delegated_to_by_its_own_word(account: address, key: bytes32, r: bytes32, s: bytes32, v: uint8):
    self.the_main = SOMEBODY
    binding: Bytes[64] = concat(key, key)
    consent: Bytes[65] = concat(r, s, slice(convert(v, bytes32), 31, 1))
    data: Bytes[1024] = abi_encode(
        account, key, key, binding, consent, method_id=method_id("delegate(address,bytes32,bytes32,bytes,bytes)")
    )
    if not self._call(SOMEBODY, data) or account == SOMEBODY:
        return
    statement: bytes32 = keccak256(abi_encode(keccak256("Delegation(address main)"), SOMEBODY))
    self._claim(ecrecover(self._digest(statement), v, r, s) == account)


# ---------------------------------------------------------------- motions

@external
def check_a_motion_is_enacted_once_in_time_and_with_more_than_its_share(sender: address, motion: uint256):
    # three members, whose votes weigh alike, and no elder to come; a grave kind and an ordinary one stand for all
    for slot: uint256 in [WEIGHED, AWAITED]:
        extcall Vm(VM).store(THE_ASSEMBLY, convert(slot, bytes32), empty(bytes32), skip_contract_check=True)
    self.the_living = 7
    head: uint256 = self._load_map(MOTIONS, motion, 4)
    ayes: uint256 = self._load_map(MOTIONS, motion, 5)
    kind: uint256 = (head >> 8) & 255
    self._assume(kind == 2 or kind == 4)
    rules: uint256 = self._load(RULES)
    if not self._call(sender, abi_encode(motion, method_id=method_id("enact(uint256)"))):
        return
    self._claim((head >> 80) & 1 == 0)
    self._claim(self._load_map(MOTIONS, motion, 4) == head | (1 << 80))
    self._claim(block.timestamp < ((head >> 16) & (2**64 - 1)) + ((head >> 88) & (2**32 - 1)))
    percent: uint256 = (rules >> 8) & 255 if kind == 2 else rules & 255
    for_it: uint256 = (ayes & 1) + ((ayes >> 1) & 1) + ((ayes >> 2) & 1)
    self._claim(100 * for_it > percent * 3)


# ---------------------------------------------------------------- vouchers

@external
def check_a_voucher_admits_once(count: uint256, endpoint: bytes32, exchange: bytes32, r: bytes32, s: bytes32, v: uint8):
    self.the_count = count
    statement: bytes32 = keccak256(abi_encode(keccak256("Voucher(address applicant)"), SOMEBODY))
    voucher: address = ecrecover(self._digest(statement), v, r, s)
    usable: uint256 = self._load_map(USABLE, convert(voucher, uint256), 0)
    name: String[8] = "somebody"
    addresses: String[1] = ""
    binding: Bytes[64] = concat(endpoint, exchange)
    signature: Bytes[65] = concat(r, s, slice(convert(v, bytes32), 31, 1))
    data: Bytes[1024] = abi_encode(
        name, endpoint, exchange, binding, addresses, signature,
        method_id=method_id("join(string,bytes32,bytes32,bytes,string,bytes)"),
    )
    if not self._call(SOMEBODY, data):
        return
    removals: uint256 = self._load(REMOVALS)
    if voucher != THE_VOUCHER or count >= THE_SEATS or removals > 0:
        elder: bool = usable == 2
        self._claim(elder or (usable >> 64 == removals and block.timestamp < usable & (2**64 - 1)))
        self._claim(self._load_map(USABLE, convert(voucher, uint256), 0) == 1)


# ---------------------------------------------------------------- underneath

@internal
@view
def _digest(statement: bytes32) -> bytes32:
    domain: bytes32 = keccak256(
        abi_encode(
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            keccak256("Folkmoot"), keccak256("1"), chain.id, THE_ASSEMBLY,
        )
    )
    return keccak256(concat(b"\x19\x01", domain, statement))


@internal
@pure
def _delegate(account: address, key: bytes32) -> Bytes[1024]:
    binding: Bytes[64] = concat(key, key)
    consent: Bytes[65] = concat(key, key, b"\x1b")
    return abi_encode(
        account, key, key, binding, consent, method_id=method_id("delegate(address,bytes32,bytes32,bytes,bytes)")
    )


@internal
def _call(sender: address, data: Bytes[1024]) -> bool:
    extcall Vm(VM).prank(sender, skip_contract_check=True)
    return raw_call(THE_ASSEMBLY, data, revert_on_failure=False)


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
    word: bytes32 = staticcall Vm(VM).load(THE_ASSEMBLY, convert(slot, bytes32), skip_contract_check=True)
    return convert(word, uint256)


@internal
@view
def _load_map(slot: uint256, key: uint256, word: uint256) -> uint256:
    place: uint256 = convert(keccak256(concat(convert(slot, bytes32), convert(key, bytes32))), uint256)
    return self._load(unsafe_add(place, word))
