# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A cycle or a path of swaps in one transaction, or nothing
@license Apache-2.0
@notice Up to four hops over pools of Uniswap v2 and v3 and their forks. What goes in comes from this contract's own tokens, from
        the first pool itself (paid in its callback), or from a lender. The owner alone may begin one, and it reverts unless it earns
        `min_profit`, or brings `min_out` where it ends in another token; then every balance is as it was.
"""

interface Token:
    def balanceOf(who: address) -> uint256: view
    def transfer(to: address, amount: uint256) -> bool: nonpayable
    def approve(spender: address, amount: uint256) -> bool: nonpayable

interface PoolV2:
    def getReserves() -> (uint112, uint112, uint32): view
    def swap(amount0: uint256, amount1: uint256, to: address, data: Bytes[288]): nonpayable

interface PoolV3:
    def swap(to: address, zero_for_one: bool, amount: int256, limit: uint160, data: Bytes[288]) -> (int256, int256): nonpayable
    def flash(to: address, amount0: uint256, amount1: uint256, data: Bytes[288]): nonpayable
    def token0() -> address: view

interface Vault:
    def flashLoan(to: address, tokens: DynArray[address, 1], amounts: DynArray[uint256, 1], data: Bytes[288]): nonpayable

interface Lender:
    def flashLoanSimple(to: address, token: address, amount: uint256, data: Bytes[288], code: uint16): nonpayable

flag Funding:
    WALLET
    CALLBACK
    BALANCER
    AAVE
    FLASH

event Earned:
    token: indexed(address)
    amount_in: uint256
    profit: uint256

event Swapped:
    token_in: indexed(address)
    token_out: indexed(address)
    amount_in: uint256
    amount_out: uint256

# A hop is one word: pool, whether token0 goes in, whether it is of v3, and the fee of a v2 pool in millionths (v3 knows its own).
# Four of them, those behind the last are 0; beside each the token that goes in.
IN_ZERO: constant(uint256) = 1 << 160
IS_V3: constant(uint256) = 1 << 161
FEE_SHIFT: constant(uint256) = 162
PIPS: constant(uint256) = 1_000_000
LOWEST: constant(uint160) = 4295128740
HIGHEST: constant(uint160) = 1461446703485210103287273052203988822378723970341

owner: public(immutable(address))
# Who may call back now, and the token that it is to be paid in; nobody between transactions.
caller: transient(address)
owed: transient(address)


@deploy
def __init__():
    owner = msg.sender


@external
def execute(
    hops: uint256[4], tokens: address[4], amount: uint256, funding: Funding, lender: address, min_profit: uint256, deadline: uint256
) -> uint256:
    """
    @notice Swap `amount` of the first token through all hops.
    @param lender The vault, lender or v3 pool that lends; not looked at otherwise.
    @param min_profit In the first token, after what a loan costs.
    @param deadline Latest time of the block, in seconds.
    @return What was earned.
    """
    assert msg.sender == owner, "OWNER"
    assert block.timestamp <= deadline, "LATE"
    token: address = tokens[0]
    before: uint256 = staticcall Token(token).balanceOf(self)
    if funding == Funding.WALLET:
        self._swap(hops, tokens, 0, amount, False)
    elif funding == Funding.CALLBACK:
        self._borrow_from_first(hops, tokens, amount)
    else:
        self.caller = lender
        data: Bytes[288] = abi_encode(hops, tokens, amount)
        if funding == Funding.BALANCER:
            extcall Vault(lender).flashLoan(self, [token], [amount], data)
        elif funding == Funding.AAVE:
            extcall Lender(lender).flashLoanSimple(self, token, amount, data, 0)
        else:
            is_zero: bool = staticcall PoolV3(lender).token0() == token
            extcall PoolV3(lender).flash(self, amount if is_zero else 0, 0 if is_zero else amount, data)
        self.caller = empty(address)
    after: uint256 = staticcall Token(token).balanceOf(self)
    assert after >= before + min_profit, "UNPROFITABLE"
    log Earned(token=token, amount_in=amount, profit=after - before)
    return after - before


@external
def swap_path(
    hops: uint256[4], tokens: address[4], amount: uint256, token_out: address, min_out: uint256, deadline: uint256
) -> uint256:
    """
    @notice Swap `amount` of this contract's own first token through all hops into another token, which stays here.
    @param token_out What the last hop gives.
    @param min_out Least of it that must come.
    @param deadline Latest time of the block, in seconds.
    @return What came.
    """
    assert msg.sender == owner, "OWNER"
    assert block.timestamp <= deadline, "LATE"
    before: uint256 = staticcall Token(token_out).balanceOf(self)
    self._swap(hops, tokens, 0, amount, False)
    after: uint256 = staticcall Token(token_out).balanceOf(self)
    assert after >= before + min_out, "OUTPUT"
    log Swapped(token_in=tokens[0], token_out=token_out, amount_in=amount, amount_out=after - before)
    return after - before


@external
def withdraw(token: address, amount: uint256):
    """
    @notice Give tokens back to the owner.
    """
    assert msg.sender == owner, "OWNER"
    assert extcall Token(token).transfer(owner, amount, default_return_value=True), "TRANSFER"


@internal
def _pay(token: address, to: address, amount: uint256):
    assert extcall Token(token).transfer(to, amount, default_return_value=True), "TRANSFER"


@internal
@view
def _out_v2(hop: uint256, amount: uint256) -> uint256:
    reserve0: uint112 = 0
    reserve1: uint112 = 0
    when: uint32 = 0
    reserve0, reserve1, when = staticcall PoolV2(self._pool(hop)).getReserves()
    kept: uint256 = amount * (PIPS - (hop >> FEE_SHIFT))
    if hop & IN_ZERO != 0:
        return kept * convert(reserve1, uint256) // (convert(reserve0, uint256) * PIPS + kept)
    return kept * convert(reserve0, uint256) // (convert(reserve1, uint256) * PIPS + kept)


@internal
@pure
def _pool(hop: uint256) -> address:
    return convert(hop & (IN_ZERO - 1), address)


@internal
@view
def _receiver(hops: uint256[4], place: uint256) -> address:
    """
    @dev Where the output of the hop before `place` goes: a pool of v2 takes it at once, which saves a transfer.
    """
    if place < 4:
        following: uint256 = hops[place]
        if following != 0 and following & IS_V3 == 0:
            return self._pool(following)
    return self


@internal
def _swap(hops: uint256[4], tokens: address[4], first: uint256, amount: uint256, is_sent: bool):
    """
    @dev Swap through the hops from `first` on. `is_sent`: the input already lies in the first of their pools.
    """
    flowing: uint256 = amount
    there: bool = is_sent
    for place: uint256 in range(first, 4, bound=4):
        hop: uint256 = hops[place]
        if hop == 0:
            break
        to: address = self._receiver(hops, place + 1)
        if hop & IS_V3 != 0:
            flowing = self._swap_v3(hop, tokens[place], flowing, to, b"")
        else:
            if not there:
                self._pay(tokens[place], self._pool(hop), flowing)
            given: uint256 = self._out_v2(hop, flowing)
            if hop & IN_ZERO != 0:
                extcall PoolV2(self._pool(hop)).swap(0, given, to, b"")
            else:
                extcall PoolV2(self._pool(hop)).swap(given, 0, to, b"")
            flowing = given
        there = to != self


@internal
def _swap_v3(hop: uint256, token: address, amount: uint256, to: address, data: Bytes[288]) -> uint256:
    outer_caller: address = self.caller
    outer_owed: address = self.owed
    self.caller = self._pool(hop)
    self.owed = token
    zero_in: bool = hop & IN_ZERO != 0
    change0: int256 = 0
    change1: int256 = 0
    change0, change1 = extcall PoolV3(self._pool(hop)).swap(
        to, zero_in, convert(amount, int256), LOWEST if zero_in else HIGHEST, data
    )
    self.caller = outer_caller
    self.owed = outer_owed
    assert convert(change0 if zero_in else change1, uint256) == amount, "LIQUIDITY"
    return convert(-(change1 if zero_in else change0), uint256)


@internal
def _borrow_from_first(hops: uint256[4], tokens: address[4], amount: uint256):
    """
    @dev The first pool gives its output before it is paid; the other hops are swapped in its callback.
    """
    hop: uint256 = hops[0]
    to: address = self._receiver(hops, 1)
    if hop & IS_V3 != 0:
        self._swap_v3(hop, tokens[0], amount, to, abi_encode(hops, tokens, amount))
        return
    given: uint256 = self._out_v2(hop, amount)
    self.caller = self._pool(hop)
    # a pool of v2 calls back whom it gives to
    if hop & IN_ZERO != 0:
        extcall PoolV2(self.caller).swap(0, given, self, abi_encode(hops, tokens, amount))
    else:
        extcall PoolV2(self.caller).swap(given, 0, self, abi_encode(hops, tokens, amount))
    self.caller = empty(address)


@internal
def _called_by_v3(change0: int256, change1: int256, data: Bytes[288]):
    pool: address = self.caller
    assert msg.sender == pool, "CALLER"
    token: address = self.owed
    debt: int256 = max(change0, change1)
    if len(data) > 0:
        hops: uint256[4] = empty(uint256[4])
        tokens: address[4] = empty(address[4])
        amount: uint256 = 0
        hops, tokens, amount = abi_decode(data, (uint256[4], address[4], uint256))
        self._swap(hops, tokens, 1, convert(-min(change0, change1), uint256), hops[1] & IS_V3 == 0)
    self._pay(token, pool, convert(debt, uint256))


@external
def uniswapV3SwapCallback(change0: int256, change1: int256, data: Bytes[288]):
    self._called_by_v3(change0, change1, data)


@external
def pancakeV3SwapCallback(change0: int256, change1: int256, data: Bytes[288]):
    self._called_by_v3(change0, change1, data)


@internal
def _called_by_v2(sender: address, amount0: uint256, amount1: uint256, data: Bytes[288]):
    pool: address = self.caller
    assert msg.sender == pool and sender == self, "CALLER"
    hops: uint256[4] = empty(uint256[4])
    tokens: address[4] = empty(address[4])
    amount: uint256 = 0
    hops, tokens, amount = abi_decode(data, (uint256[4], address[4], uint256))
    self._swap(hops, tokens, 1, max(amount0, amount1), False)
    self._pay(tokens[0], pool, amount)


@external
def uniswapV2Call(sender: address, amount0: uint256, amount1: uint256, data: Bytes[288]):
    self._called_by_v2(sender, amount0, amount1, data)


@external
def pancakeCall(sender: address, amount0: uint256, amount1: uint256, data: Bytes[288]):
    self._called_by_v2(sender, amount0, amount1, data)


@internal
def _swap_loan(data: Bytes[288]) -> (address, uint256):
    """
    @dev What was lent goes through all hops; its token and amount.
    """
    hops: uint256[4] = empty(uint256[4])
    tokens: address[4] = empty(address[4])
    amount: uint256 = 0
    hops, tokens, amount = abi_decode(data, (uint256[4], address[4], uint256))
    self._swap(hops, tokens, 0, amount, False)
    return tokens[0], amount


@external
def receiveFlashLoan(
    tokens: DynArray[address, 1], amounts: DynArray[uint256, 1], fees: DynArray[uint256, 1], data: Bytes[288]
):
    assert msg.sender == self.caller, "CALLER"
    token: address = empty(address)
    amount: uint256 = 0
    token, amount = self._swap_loan(data)
    self._pay(token, msg.sender, amount + fees[0])


@external
def executeOperation(token: address, amount: uint256, premium: uint256, initiator: address, data: Bytes[288]) -> bool:
    assert msg.sender == self.caller and initiator == self, "CALLER"
    self._swap_loan(data)
    assert extcall Token(token).approve(msg.sender, amount + premium, default_return_value=True), "APPROVE"
    return True


@internal
def _flashed(fee0: uint256, fee1: uint256, data: Bytes[288]):
    assert msg.sender == self.caller, "CALLER"
    token: address = empty(address)
    amount: uint256 = 0
    token, amount = self._swap_loan(data)
    self._pay(token, msg.sender, amount + max(fee0, fee1))


@external
def uniswapV3FlashCallback(fee0: uint256, fee1: uint256, data: Bytes[288]):
    self._flashed(fee0, fee1, data)


@external
def pancakeV3FlashCallback(fee0: uint256, fee1: uint256, data: Bytes[288]):
    self._flashed(fee0, fee1, data)
