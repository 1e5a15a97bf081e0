"""`python -m toolkit` is `ckpt`."""

from toolkit.cli.app import program

program()
