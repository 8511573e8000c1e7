"""`python -m facedistill_cli`, for launchers such as torchrun."""

from .app import main

if __name__ == "__main__":
    main()
