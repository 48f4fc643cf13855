"""On-chain venues: pools followed through nodes that may err, and cycles of swaps sent in one transaction and followed to their end."""
