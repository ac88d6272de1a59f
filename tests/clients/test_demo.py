"""What `causeway demo` prints is pasted, by people who decide within a minute whether to go on."""

import os
import subprocess
import sys

import pytest

import settings

LAST_LINE = "Ctrl-C ends it"


@pytest.mark.gateway_only
@pytest.mark.skipif(settings.SECURE or settings.HTTP2, reason="the demonstration is the same in every run of these tests")
def test_the_python_line_works_as_printed(tmp_path):
    command = [settings.GATEWAY, "demo", "--port", "0", "--admin-port", "0"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        try:
            said = ""
            while LAST_LINE not in said:
                line = demo.stdout.readline()
                assert line, f"it ended before it was up:\n{said}"
                said += line
            program = said.split("python3 -c '", 1)[1].split("'\n", 1)[0]
            run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        finally:
            demo.terminate()

    assert run.returncode == 0, run.stderr
    assert "`gpu-01`" in run.stdout
