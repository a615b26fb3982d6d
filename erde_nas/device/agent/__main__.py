"""python -m erde_nas.device.agent JOB.json: do the job, print its result as JSON, or one line that says why not."""

import sys

from erde_nas.device.agent.refusal import short
from erde_nas.device.agent.work import main

try:
    main(sys.argv[1])
except Exception as error:  # whatever the runtime raises goes to the one who asked
    sys.exit(short(error))
