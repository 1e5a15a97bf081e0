"""`python -m toolkit` is `ckpt`."""

from toolkit.cli.app import main

main()
