"""What goes with a model that MLflow loads and serves."""
