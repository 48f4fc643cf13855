"""What the questions to a log share: what was decided, opened with its inputs; what was seen; and reports as tables or JSON."""
