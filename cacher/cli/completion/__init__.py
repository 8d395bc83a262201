"""Scripts that complete the command line in bash, zsh and fish, made from the parser.

Loaded by `cacher completion` alone. A script is static: it starts no cacher and asks no store, so
it says nothing of keys.
"""
