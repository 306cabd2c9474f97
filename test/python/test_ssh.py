"""Access by SSH through the official Python SDK, sync and async, with the real ssh, scp and sftp."""

import asyncio
import os
import subprocess
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
OPTIONS = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"ssh-{uuid.uuid4().hex[:8]}"
    snapshot = client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    yield name
    client.snapshot.delete(snapshot)


def ssh(access, command):
    program, *arguments = access.ssh_command.split()
    argv = [program, *OPTIONS, "-o", "BatchMode=yes", *arguments, command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_a_token_logs_in_until_it_is_revoked(name, tmp_path):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    access = sandbox.create_ssh_access(expires_in_minutes=10)
    assert access.sandbox_id == sandbox.id
    validation = sandbox.validate_ssh_access(access.token)
    assert (validation.valid, validation.sandbox_id) == (True, sandbox.id)
    done = ssh(access, "python3 -c 'print(6 * 7)'; echo problem >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "42\n", "problem\n")

    host, port = access.ssh_command.split()[-1], access.ssh_command.split()[2]
    (tmp_path / "up").write_bytes(os.urandom(1_000_000))
    for source, target in ((tmp_path / "up", f"{host}:kept"), (f"{host}:kept", tmp_path / "down")):
        subprocess.run(["scp", *OPTIONS, "-P", port, str(source), str(target)], check=True, timeout=60)
    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()

    sandbox.revoke_ssh_access(access.token)
    assert sandbox.validate_ssh_access(access.token).valid is False
    assert "Permission denied" in ssh(access, "true").stderr
    client.delete(sandbox)


def test_async(name):
    async def scenario():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            access = await sandbox.create_ssh_access(expires_in_minutes=1)
            assert (await sandbox.validate_ssh_access(access.token)).valid
            assert (await asyncio.to_thread(ssh, access, "echo well")).stdout == "well\n"
            await sandbox.revoke_ssh_access(access.token)
            assert not (await sandbox.validate_ssh_access(access.token)).valid
            await client.delete(sandbox)

    asyncio.run(scenario())
