"""python -m erde_nas.agent JOB.json: do the job, print its result as JSON."""

import sys

from erde_nas.agent.work import main

main(sys.argv[1])
