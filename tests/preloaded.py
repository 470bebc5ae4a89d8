"""What the server of `forked` imports before it forks: ours first, whose functions the tests check."""

from . import conftest  # isort: skip
import nerfstudio.scripts.train  # isort: skip
import nerfstudio.scripts.eval

import winner_nerfstudio.cli.export

__all__ = ["conftest", "nerfstudio", "winner_nerfstudio"]
