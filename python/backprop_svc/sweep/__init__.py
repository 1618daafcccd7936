"""The sweep engine: what :func:`backprop_svc.sweep`, the command and Hydra's sweeper call.

``axes`` and ``space`` make points of what a user writes, a ``sampler`` chooses among them,
an ``experiment`` is what all points share, the ``engine`` trains and keeps them chunk by
chunk, and ``outcomes`` is what it returns.
"""
