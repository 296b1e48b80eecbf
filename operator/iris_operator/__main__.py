"""`python -m iris_operator`."""

from __future__ import annotations

import sys

from iris_operator.main import main

sys.exit(main())
