"""Train, compare and evaluate DeiT on MindSpore: `python launch.py --help`."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # all that importing makes remains
    from deit.cli import main

    gc.freeze()
    gc.enable()
    sys.exit(main())
