"""A recorded log as an exchange: the simulated venue behind a real exchange's wire protocol, for any client of that exchange."""
