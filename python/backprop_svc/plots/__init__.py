"""Figures of results and of sweeps.

``training`` and ``sweep`` draw with Matplotlib, which takes long to import: what needs no
picture of theirs imports neither, and ``painter`` lets them draw while something else goes on.
"""
