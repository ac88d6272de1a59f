"""Processes of the benchmark: started on a core of their own, read through /proc, ended by their own id."""

import os
import pathlib
import resource
import signal
import subprocess
import time

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
REAL_TIME = os.geteuid() == 0


def cores():
    """The proxy's core and the core of everything else; the same one, or none, where there is only one."""
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 else (have[0], have[0])


def allow_many_files():
    """Two thousand streams are two sockets each in the proxy."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Process:
    """One started program, with everything that it starts itself."""

    def __init__(self, command, core, log, environment=None):
        self.command = [str(part) for part in command]
        self.log = log
        self.started = time.monotonic()
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )

    def pids(self):
        """The program and its descendants."""
        found = [self.child.pid]
        for pid in found:
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children") as children:
                        found += [int(child) for child in children.read().split()]
            except OSError:
                continue
        return found

    def cpu_us(self):
        """CPU time so far in microseconds: to the nanosecond where the kernel keeps it, else in ticks of 10 ms."""
        total = 0
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as stat:
                        total += int(stat.read().split()[0])
            except OSError:
                return self.cpu_ticks_us()
        return total / 1000

    def cpu_ticks_us(self):
        """CPU time so far as utime + stime, which every kernel keeps; the cross-check of `cpu_us`."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
            except OSError:
                continue
        return total * TICK_US

    def rss_bytes(self):
        """Resident memory, shared pages included."""
        total = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/statm") as statm:
                    total += int(statm.read().split()[1]) * resource.getpagesize()
            except OSError:
                continue
        return total

    def real_time(self, on):
        """Moves every thread into the real-time class and back, so that a busy machine's queue is not what is measured."""
        if not REAL_TIME:
            return
        policy, priority = (os.SCHED_RR, 1) if on else (os.SCHED_OTHER, 0)
        for pid in self.pids():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setscheduler(int(task), policy, os.sched_param(priority))
            except OSError:
                continue

    def is_running(self):
        return self.child.poll() is None

    def last_words(self):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def end(self):
        """Asks it to leave, and makes it leave where it does not."""
        for ask, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            if not self.is_running():
                return
            try:
                os.killpg(self.child.pid, ask)
                self.child.wait(patience)
            except (OSError, subprocess.TimeoutExpired):
                continue


def run_once(command, core, real_time, patience):
    """Runs a tool to its end and gives what it printed."""

    def prepare():
        os.sched_setaffinity(0, {core})
        if real_time and REAL_TIME:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, preexec_fn=prepare)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def as_after_a_start():
    """Lets go of the page cache and compacts memory, where that is allowed; gives what stands in the way.

    Compilers leave memory in small pieces, into which a program's pages are then read. In the one comparison that was made, right behind a
    build and again right after this, a request of 1 KB took Causeway 136 to 145 us and 120 to 124 us, and nginx, which is small, 94 and 98.
    """
    try:
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
        pathlib.Path("/proc/sys/vm/compact_memory").write_text("1")
    except OSError as error:
        return str(error)
    return None
