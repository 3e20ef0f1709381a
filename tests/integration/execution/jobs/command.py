#!/usr/bin/env python3

"""A job that is a command. It reads its context on stdin and answers with the last line on stdout."""

import json
import os
import signal
import sys
import time
from pathlib import Path

context = json.load(sys.stdin)
parameters = context["parameters"]
print("some progress")
print("a warning", file=sys.stderr)
match parameters["how"]:
    case "echo":
        print(json.dumps(context))
        print()
    case "assets":
        print(json.dumps({"assets": [{"assetId": parameters["asset"]}]}))
    case "exit":
        sys.exit(7)
    case "garbage":
        print("done!")
    case "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    case "hold":
        begun = Path(parameters["folder"]) / f"{context['stepId']}.begun"
        begun.with_suffix(".tmp").write_text(f"{os.getpid()} {os.getppid()}")
        begun.with_suffix(".tmp").rename(begun)
        while True:
            time.sleep(0.01)
