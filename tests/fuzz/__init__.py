"""Inputs from outside, made wrong at random: decoders, config, importers, views and the journal raise our own errors and nothing else."""
