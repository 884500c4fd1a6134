"""The recorder's priority: below the mail's, whatever the server was started with."""

import os
import subprocess
import sys

import pytest

SAYS = """
import os
from postroad.recorder.__main__ import let_mail_go_first
let_mail_go_first()
let_mail_go_first()
print(os.nice(0))
"""


@pytest.mark.parametrize("start", [0, 15])
def test_it_is_lowered_and_never_raised(start: int) -> None:
    own = os.nice(0)
    start = max(start, own)
    raised = subprocess.run(
        ["nice", "-n", str(start - own), sys.executable, "-c", SAYS],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(raised.stdout) == max(start, 10)
