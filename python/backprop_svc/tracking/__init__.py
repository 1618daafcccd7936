"""Where runs are kept."""

from backprop_svc import lazy

__all__ = lazy.attach(__name__, __file__)
