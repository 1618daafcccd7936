"""``python -m backprop_svc`` is the command ``backprop-svc``."""

from backprop_svc.cli.main import main

if __name__ == "__main__":
    main()
