"""Train very many small networks in one call.

>>> import backprop_svc as bp
>>> result = bp.train(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0, learning_rate=0.1)
>>> result.weights
array([[1.10671214, 1.355366  ]])
>>> result.outcome
array(['converged'], dtype='<U11')
"""

from backprop_svc.deferred import Deferred

with Deferred():
    from backprop_svc import lazy
    from backprop_svc._core import VERSION

__version__ = VERSION
__all__ = lazy.attach(__name__, __file__)
