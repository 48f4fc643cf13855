"""The compiled fold: feed validation, books, best quotes, quality scores, opportunity tracking and wakes.

`state` lays out the memory, `tables` reaches it, `feed`, `book` and `edges` hold the rules, `fold` steps the inputs.
"""
