"""The command ``backprop-svc``."""
