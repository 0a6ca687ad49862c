"""``python -m synap_integrations.cli`` is `synap`."""

import sys

from . import main

sys.exit(main())
