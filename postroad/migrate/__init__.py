"""Reads the environment of other relay images and writes a configuration of ours. No I/O."""
