# SPDX-License-Identifier: Apache-2.0
"""Machines on which a page's commands are run as they stand: a real systemd as process 1 in namespaces of its own, on a copy of this
machine's file system that forgets everything (an overlay in memory), with a network of its own. What is done there, this machine never
sees; nothing of this machine's services is started but what is asked for.

    with machines(2) as (a, b):            # they see each other as "machine0", "machine1"; the first one is also "redis"
        a.run("systemctl start nginx")
"""
import contextlib
import functools
import os
import shutil
import subprocess

from rig import Deadline, wait_for
from rig.lethe import ROOT

# The targets that all services stand behind would set this machine's clock, modules and kernel settings: here they are empty.
BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root /mnt/up2 /mnt/work2
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
cd /mnt/root
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p ".$2" # the repository may stand below /tmp, or on a file system of its own
mount -t overlay overlay -o "lowerdir=$2,upperdir=/mnt/up2,workdir=/mnt/work2" ".$2"
rm -rf etc/systemd/system/* etc/lethe opt/lethe
pivot_root . mnt
umount -l /mnt
ip link set lo up
hostname "$1"
for target in sysinit basic network-online network multi-user; do
    printf '[Unit]\nDefaultDependencies=no\n' > /etc/systemd/system/$target.target
done
printf '[Manager]\nDefaultTimeoutStartSec=40s\n' > /etc/systemd/system.conf
export container=lethe
exec /lib/systemd/systemd --system --unit=basic.target --log-target=console --log-level=warning --show-status=0
"""


@functools.lru_cache(None)
def cannot():
    """Why there can be no machines here, or None."""
    if os.geteuid() != 0:
        return "run it as root: it makes namespaces"
    if not os.path.exists("/lib/systemd/systemd"):
        return "apt-get install systemd"
    for program in ("unshare", "nsenter", "ip", "curl"):
        if not shutil.which(program):
            return f"apt-get install {'iproute2' if program == 'ip' else program}"
    # A container's root may not: no mounts, no namespaces.
    probe = subprocess.run(["unshare", "--pid", "--fork", "--mount", "--net", "--cgroup", "sh", "-ec",
                            "mount -t tmpfs tmpfs /mnt; mkdir /mnt/u /mnt/w /mnt/r; mount -t cgroup2 cgroup2 /mnt/r; umount /mnt/r; "
                            "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return None if probe.returncode == 0 else f"this machine gives root no namespaces or mounts: {probe.stdout.decode().strip()}"


class Machine:
    def __init__(self, name):
        self.name, self.address = name, None
        # --kill-child: when the process that made the namespaces ends, all that runs in them ends.
        self.popen = subprocess.Popen(["unshare", "--kill-child", "--pid", "--fork", "--mount", "--uts", "--ipc", "--net", "--cgroup",
                                       "sh", "-c", BOOT, "boot", name, str(ROOT)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
        self.pid = None

    def wait_booted(self):
        try:
            wait_for(self._booted, 30, f"systemd of {self.name}")
        except AssertionError:
            self.stop()
            raise AssertionError(f"{self.name} does not boot: {self.popen.stdout.read().decode()[-2000:]}") from None
        return self

    def _booted(self):
        assert self.popen.poll() is None, "it has ended"
        with open(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children", encoding="ascii") as f:
            children = f.read().split()
        self.pid = int(children[0]) if children else None
        return self.pid and self.run("systemctl is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def enter(self):
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C"]

    def run(self, script, seconds=60, check=True):
        """A shell script at the top of the repository, as root; each of its commands must succeed."""
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root"}
        done = subprocess.run([*self.enter(), "sh", "-ec", f"cd '{ROOT}'\n{script}"], env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False)
        done.stdout = done.stdout.decode("utf-8", "replace")
        if check and done.returncode != 0:
            log = self.run("systemctl --no-pager --failed; journalctl --no-pager -n 60", check=False).stdout
            raise AssertionError(f"{self.name}: exit code {done.returncode} of\n{script}\n{done.stdout}\n{log}")
        return done

    def write(self, path, text, mode=0o644):
        subprocess.run([*self.enter(), "sh", "-ec", 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"', "sh", path, oct(mode)[2:]],
                       input=text.encode(), check=True, timeout=20)

    def stop(self):
        self.popen.kill()  # the child of it gets SIGKILL, and with process 1 all others
        self.popen.wait(20)


def connect(a, b, number):
    """A cable between two machines."""
    ends = [(a, f"eth{number}", f"10.77.{number}.1"), (b, f"eth{number}", f"10.77.{number}.2")]
    subprocess.run(["ip", "link", "add", ends[0][1], "netns", str(a.pid), "type", "veth", "peer", "name", ends[1][1], "netns", str(b.pid)],
                   check=True)
    for machine, device, address in ends:
        machine.run(f"ip addr add {address}/24 dev {device}; ip link set {device} up")
        machine.address = machine.address or address
    return ends


@contextlib.contextmanager
def machines(count):
    made = []
    try:
        for i in range(count):
            made.append(Machine(f"machine{i}"))
        for m in made:
            m.wait_booted()
        for i, other in enumerate(made[1:]):
            connect(made[0], other, i)
        for m in made:
            names = "".join(f"{o.address or '127.0.0.1'} {o.name}\n" for o in made)
            m.run(f"printf '127.0.0.1 localhost\\n{(made[0].address or '127.0.0.1')} redis redis.example\\n%s' '{names}' > /etc/hosts")
        yield made
    finally:
        deadline = Deadline(20)
        for m in made:
            m.stop()
        assert not deadline.over()
