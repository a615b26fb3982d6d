"""What libraries warn of and log does not reach users; their errors do."""

import subprocess
import sys

SAY = """
import logging, sys, warnings
from erde_nas.progress.quiet import quiet_libraries
quiet_libraries()
warnings.warn("deprecated")
logging.getLogger("torchao").warning("Failed to load a library")
logging.basicConfig(force=True)
logging.getLogger("torch.utils._pytree").warning("an Enum subclass")
logging.getLogger("any").error("an error")
"""


def test_warnings_and_log_lines_of_libraries_are_silenced():
    done = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "ERROR:any:an error\n")
    asked = subprocess.run([sys.executable, "-Wdefault", "-c", SAY], capture_output=True, text=True, check=True)
    assert "deprecated" in asked.stderr
    assert "Failed to load a library" in asked.stderr


FOR_A_WHILE = """
import logging, warnings
from erde_nas.progress.quiet import quiet
logging.basicConfig()
with quiet():
    warnings.warn("inside")
    logging.getLogger("any").warning("inside")
warnings.warn("after")
logging.getLogger("any").warning("after")
"""


def test_a_caller_keeps_its_own_settings():
    done = subprocess.run([sys.executable, "-c", FOR_A_WHILE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "inside" not in done.stderr
    assert "UserWarning: after" in done.stderr
    assert "WARNING:any:after" in done.stderr
