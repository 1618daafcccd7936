"""From the configuration that Hydra composes to an experiment and a grid."""
