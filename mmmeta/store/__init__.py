"""The store: small typed values that server and client read and write, here or at a remote."""
