"""The configuration of every command, by groups."""
