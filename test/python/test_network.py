"""What a sandbox may reach, through the official Python SDK, sync and async. DARKROOM_TEST_HOSTS are two hosts that only this
machine knows; one.example.test and two.example.test lead to them, by the server's name server."""

import asyncio
import os

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
ONE, TWO = os.environ["DARKROOM_TEST_HOSTS"].split(",")
PORT = os.environ["DARKROOM_TEST_HOSTS_PORT"]
SNAPSHOT = "py-network"

PROBE = """
import socket, sys
for target in sys.argv[2:]:
    try:
        with socket.create_connection((target, int(sys.argv[1])), 3) as connection:
            if b"remote" in connection.recv(4096): print(target)
    except OSError:
        pass
"""


@pytest.fixture(scope="module", autouse=True)
def snapshot():
    client = sdk.Daytona()
    made = client.snapshot.create(sdk.CreateSnapshotParams(name=SNAPSHOT, image=IMAGE), timeout=120)
    yield
    client.snapshot.delete(made)


def command(targets):
    return f"python3 -c '{PROBE}' {PORT} {' '.join(targets)}"


def reached(sandbox, *targets):
    return sandbox.process.exec(command(targets or (ONE, TWO))).result.split()


def params(**network):
    return sdk.CreateSandboxFromSnapshotParams(snapshot=SNAPSHOT, **network)


def test_lists_at_create():
    client = sdk.Daytona()
    ranges = client.create(params(network_allow_list=f"{ONE}/32"))
    assert ranges.network_allow_list == f"{ONE}/32"
    assert reached(ranges) == [ONE]
    names = client.create(params(domain_allow_list="two.example.test,*.wild.test"))
    assert names.domain_allow_list == "two.example.test,*.wild.test"
    assert reached(names, ONE, TWO, "one.example.test", "two.example.test", TWO) == ["two.example.test", TWO]
    nothing = client.create(params(network_block_all=True))
    assert reached(nothing) == []
    for sandbox in (ranges, names, nothing):
        sandbox.delete()


def test_a_wrong_entry_is_named():
    with pytest.raises(sdk.DaytonaError, match="10.0.0.0/40"):
        sdk.Daytona().create(params(network_allow_list="10.0.0.0/40"))
    with pytest.raises(sdk.DaytonaError, match="https://example.com"):
        sdk.Daytona().create(params(domain_allow_list="https://example.com"))


def test_settings_of_a_running_sandbox():
    client = sdk.Daytona()
    sandbox = client.create(params())
    assert reached(sandbox) == [ONE, TWO]
    sandbox.update_network_settings(network_block_all=True)
    assert sandbox.network_block_all and reached(sandbox) == []
    sandbox.update_network_settings(domain_allow_list="one.example.test")
    assert not sandbox.network_block_all
    assert reached(sandbox, "one.example.test", "two.example.test", TWO) == ["one.example.test"]
    sandbox.update_network_settings(network_allow_list=f"{TWO}/32")
    assert reached(sandbox, "one.example.test", TWO) == ["one.example.test", TWO]
    sandbox.update_network_settings(domain_allow_list="")
    assert reached(sandbox) == [TWO]
    sandbox.stop()
    sandbox.start()
    assert reached(sandbox) == [TWO]
    sandbox.update_network_settings(network_block_all=False)
    assert sandbox.network_allow_list is None and reached(sandbox) == [ONE, TWO]
    sandbox.delete()


def test_async():
    async def run():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(params(network_allow_list=f"{TWO}/32"))
            assert (await sandbox.process.exec(command((ONE, TWO)))).result.split() == [TWO]
            await sandbox.update_network_settings(network_allow_list=f"{ONE}/32")
            assert (await sandbox.process.exec(command((ONE, TWO)))).result.split() == [ONE]
            await sandbox.delete()

    asyncio.run(run())
