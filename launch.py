"""Train, compare and evaluate DeiT on MindSpore: `python launch.py --help`."""

import sys

from deit.cli import main

if __name__ == "__main__":
    sys.exit(main())
