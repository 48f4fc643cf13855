"""Values: units, assets, instruments, event columns, commands and life cycles. Imports nothing of xarb but errors."""
