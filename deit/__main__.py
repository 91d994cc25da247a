"""``python -m deit``: the same as ``launch.py`` and the command ``deit``."""

import sys

from deit.cli import main

if __name__ == "__main__":
    sys.exit(main())
