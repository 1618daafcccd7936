"""A sweep from Python: the engine with its pictures, and a bar that shows how far it is."""
