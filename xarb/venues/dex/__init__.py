"""On-chain venues. What is here so far: the contract that swaps a cycle in one transaction, and calls to it."""
