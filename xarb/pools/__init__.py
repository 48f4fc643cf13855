"""The maths of automated market makers in integers, equal to the contracts to the last unit; pure.

Amounts are in a token's smallest unit. Square roots of prices are Q64.96 as in the contracts: token1 per token0, times 2**96.
"""
