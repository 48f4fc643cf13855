"""A deterministic world in virtual time around the real engine, execution and log: any case is reproduced by its seed."""
