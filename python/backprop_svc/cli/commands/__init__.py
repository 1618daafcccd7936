"""The commands: what each of them does with its configuration."""
