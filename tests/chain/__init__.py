"""On-chain parts against a real EVM node with the real contracts, both fetched at test time."""
