"""Snapshots of sandboxes, and forks, by the official Python SDK, sync and async: under the names of 0.190 and under those of today."""

import asyncio
import json
import os
import urllib.error
import urllib.request
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]


@pytest.fixture(scope="module")
def base():
    client = sdk.Daytona()
    name = f"captures/{uuid.uuid4().hex[:8]}"
    client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    return name


def api(path):
    """What the API says itself, where the SDK has no call for it; a status instead of a body when it refuses."""
    request = urllib.request.Request(
        os.environ["DAYTONA_API_URL"] + path, headers={"Authorization": f"Bearer {os.environ['DAYTONA_API_KEY']}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code


def ids_at(path):
    return [sandbox["id"] for sandbox in api(path)]


def capture(sandbox, name, **options):
    return (getattr(sandbox, "create_snapshot", None) or sandbox._experimental_create_snapshot)(name, **options)


def fork(sandbox, **options):
    return (getattr(sandbox, "fork", None) or sandbox._experimental_fork)(**options)


def from_snapshot(name, **options):
    return sdk.CreateSandboxFromSnapshotParams(snapshot=name, **options)


def state_of(thing):
    return str(getattr(thing.state, "value", thing.state))


def test_a_started_and_a_stopped_sandbox_become_snapshots(base):
    client = sdk.Daytona()
    name = f"captured-{uuid.uuid4().hex[:8]}"
    sandbox = client.create(from_snapshot(base, env_vars={"GIVEN": "yes"}))
    sandbox.process.exec("mkdir -p /srv/a && echo one > /srv/a/file && rm /etc/issue")
    capture(sandbox, name)
    assert state_of(sandbox) == "started"
    snapshot = client.snapshot.get(name)
    assert (state_of(snapshot), snapshot.size > 0.05) == ("active", True)
    # Only the newer packages know it.
    if hasattr(snapshot, "source_sandbox_id"):
        assert snapshot.source_sandbox_id == sandbox.id
    raw = api(f"/snapshots/{snapshot.id}")
    assert raw["sourceSandboxId"] == sandbox.id and 0 < raw["addedSize"] < 0.01
    assert api(f"/snapshots/{snapshot.id}/lineage")["parent"]["name"] == base
    sandbox.process.exec("echo two >> /srv/a/file")
    sandbox.stop()
    capture(sandbox, f"{name}-stopped")
    assert state_of(client.get(sandbox.id)) == "stopped"
    for snapshot_name, words in [(name, "one\n"), (f"{name}-stopped", "one\ntwo\n")]:
        copy = client.create(from_snapshot(snapshot_name))
        run = copy.process.exec("cat /srv/a/file; ls /etc/issue 2>/dev/null; printf %s $GIVEN")
        assert run.result == f"{words}yes"
        copy.delete()
    sandbox.delete()


def test_a_fork_has_the_files_and_goes_its_own_way(base):
    client = sdk.Daytona()
    name = f"child-{uuid.uuid4().hex[:8]}"
    parent = client.create(from_snapshot(base, labels={"suite": "forks"}))
    parent.process.exec("echo 0123456789abcdef0123456789abcdef > /etc/machine-id; echo shared > /srv/file")
    child = fork(parent, name=name)
    assert (state_of(child), child.name, child.labels["suite"]) == ("started", name, "forks")
    child.process.exec("echo own >> /srv/file")
    grandchild = fork(child)
    assert grandchild.process.exec("cat /srv/file").result == "shared\nown\n"
    assert parent.process.exec("cat /srv/file").result == "shared\n"
    machines = [each.process.exec("cat /etc/machine-id; hostname").result for each in (parent, child, grandchild)]
    assert len({line for text in machines for line in text.split()}) == 6
    assert ids_at(f"/sandbox/{parent.id}/forks") == [child.id]
    assert ids_at(f"/sandbox/{grandchild.id}/ancestors") == [child.id, parent.id]
    parent.delete()
    assert api(f"/sandbox/{child.id}/parent") == 404
    assert ids_at(f"/sandbox/{grandchild.id}/ancestors") == [child.id]
    for each in (child, grandchild):
        each.delete()


def test_what_fails_is_an_error_of_the_sdk(base):
    client = sdk.Daytona()
    sandbox = client.create(from_snapshot(base))
    with pytest.raises(sdk.DaytonaError, match="already exists"):
        capture(sandbox, base)
    with pytest.raises(sdk.DaytonaError, match="(?i)name"):
        capture(sandbox, "not a name!")
    child = fork(sandbox, name=f"taken-{uuid.uuid4().hex[:8]}")
    with pytest.raises(sdk.DaytonaError, match="already exists"):
        fork(sandbox, name=child.name)
    for call in (lambda: capture(sandbox, "never", timeout=-1), lambda: fork(sandbox, timeout=-1)):
        with pytest.raises(sdk.DaytonaError, match="non-negative"):
            call()
    assert sandbox.process.exec("echo goes on").result == "goes on\n"
    for each in (child, sandbox):
        each.delete()


def test_the_async_client_does_the_same(base):
    async def story():
        name = f"async-{uuid.uuid4().hex[:8]}"
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(from_snapshot(base))
            await sandbox.process.exec("echo one > /srv/file")
            child, _ = await asyncio.gather(fork(sandbox, name=name), capture(sandbox, name))
            copy = await client.create(from_snapshot(name))
            for each in (child, copy):
                assert (await each.process.exec("cat /srv/file")).result == "one\n"
            with pytest.raises(sdk.DaytonaError, match="already exists"):
                await fork(sandbox, name=name)
            with pytest.raises(sdk.DaytonaError, match="already exists"):
                await capture(sandbox, name)
            for each in (child, copy, sandbox):
                await each.delete()

    asyncio.run(story())
