"""The program `ckpt`: it parses, calls one function of the library, and prints."""
