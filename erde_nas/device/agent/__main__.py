"""python -m erde_nas.device.agent FOLDER: do the job there, print its answer as JSON, or one line that says why not."""

import json
import os
import stat
import sys
from dataclasses import asdict
from pathlib import Path

from erde_nas.device.agent.elsewhere import end_with_connection
from erde_nas.device.agent.refusal import short
from erde_nas.device.agent.run_job import work

if stat.S_ISFIFO(os.fstat(0).st_mode):  # by which the one who asked holds it
    end_with_connection()
try:
    print("\n" + json.dumps(asdict(work(Path(sys.argv[1])))))
except Exception as error:  # whatever the runtime raises goes to the one who asked
    sys.exit(short(error))
