"""What the documents say is done."""

import re
from pathlib import Path
from typing import Any


def test_the_example_in_testing_md_runs(image: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", Path("docs/testing.md").read_text(), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(code, "docs/testing.md", "exec"), namespace)
    (test,) = [value for name, value in namespace.items() if name.startswith("test_")]
    test()
