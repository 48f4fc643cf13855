"""One file per vendor format, and the merge that turns any number of sources into one log."""
