"""What a person asks for, a module each: the command line and `xarb.api` call these functions."""
