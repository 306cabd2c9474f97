"""The official Python SDK, unmodified, pointed at our server: the calls of the snapshot documents, sync and async,
and the sandbox, process and file calls that people start with. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import os
import time
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]


def resources():
    return sdk.Resources(cpu=1, memory=1, disk=3)


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"py/{uuid.uuid4().hex[:8]}:3.11"
    chunks = []
    snapshot = client.snapshot.create(
        sdk.CreateSnapshotParams(name=name, image=IMAGE, resources=resources()), on_logs=chunks.append, timeout=120
    )
    assert snapshot.name == name
    assert str(getattr(snapshot.state, "value", snapshot.state)) == "active"
    assert chunks[0].startswith("Creating snapshot")
    yield name
    client.snapshot.delete(client.snapshot.get(name))


def test_get_and_list(name):
    client = sdk.Daytona()
    snapshot = client.snapshot.get(name)
    assert (snapshot.cpu, snapshot.mem, snapshot.disk, snapshot.general) == (1, 1, 3, False)
    assert snapshot.image_name == IMAGE
    page = client.snapshot.list(page=1, limit=10)
    assert name in [item.name for item in page.items]
    assert (page.page, page.total_pages) == (1, 1)
    assert page.total == len(page.items)


def test_errors_are_the_sdks_own(name):
    client = sdk.Daytona()
    with pytest.raises(sdk.DaytonaNotFoundError):
        client.snapshot.get("no-such-snapshot")
    with pytest.raises(sdk.DaytonaError, match="already exists"):
        client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE))
    with pytest.raises(sdk.DaytonaError, match="no/such-image"):
        client.snapshot.create(sdk.CreateSnapshotParams(name=f"missing-{uuid.uuid4().hex[:8]}", image="no/such-image:1.0"))


def test_delete_frees_the_name_and_activate_works():
    client = sdk.Daytona()
    name = f"short-{uuid.uuid4().hex[:8]}"
    params = sdk.CreateSnapshotParams(name=name, image=IMAGE, entrypoint=["sleep", "600"])
    first = client.snapshot.create(params)
    assert first.entrypoint == ["sleep", "600"]
    client.snapshot.delete(first)
    second = client.snapshot.create(params)
    assert second.id != first.id
    # An active snapshot cannot be activated: a 400 of the API, which this SDK passes on as it is.
    with pytest.raises(Exception, match="already active"):
        client.snapshot.activate(second)
    client.snapshot.delete(second)


def test_sandbox_runs_code_commands_and_moves_files(name, tmp_path):
    client = sdk.Daytona()
    sandbox = client.create(
        sdk.CreateSandboxFromSnapshotParams(snapshot=name, env_vars={"GREETING": "hello"}, labels={"suite": "python"})
    )
    try:
        run = sandbox.process.code_run("import os\nprint(os.environ['GREETING'], 6 * 7)")
        assert (run.exit_code, run.result.strip()) == (0, "hello 42")
        run = sandbox.process.exec("echo out; echo err >&2; exit 3")
        assert (run.exit_code, run.result) == (3, "out\nerr\n")
        assert sandbox.process.exec("pwd", cwd="/tmp").result.strip() == "/tmp"
        content = os.urandom(1 << 20)
        sandbox.fs.upload_file(content, "/data/deep/random.bin")
        assert sandbox.fs.download_file("/data/deep/random.bin") == content
        sandbox.fs.upload_files([sdk.FileUpload(source=b"a", destination="/data/a"), sdk.FileUpload(source=b"b", destination="/data/b")])
        assert sandbox.process.exec("cat /data/a /data/b").result == "ab"
        with pytest.raises(sdk.DaytonaError):
            sandbox.fs.download_file("/no/such/file")
        sandbox.set_labels({"suite": "python", "more": "yes"})
        sandbox.set_autostop_interval(45)
        assert client.get(sandbox.id).auto_stop_interval == 45
        sandbox.process.exec("echo kept > /root/note")
        sandbox.stop()
        sandbox.start()
        assert sandbox.process.exec("cat /root/note").result == "kept\n"
    finally:
        sandbox.delete()
    # It may show as destroying for a moment; then nobody knows it any more.
    with pytest.raises(sdk.DaytonaNotFoundError):
        for _ in range(100):
            client.get(sandbox.id)
            time.sleep(0.05)


def test_async_client_does_the_same(name):
    async def story():
        async with sdk.AsyncDaytona() as client:
            chunks = []
            short = f"async-{uuid.uuid4().hex[:8]}"
            created = await client.snapshot.create(
                sdk.CreateSnapshotParams(name=short, image=IMAGE), on_logs=chunks.append, timeout=120
            )
            assert created.name == short and chunks
            page = await client.snapshot.list(page=1, limit=10)
            assert {name, short} <= {item.name for item in page.items}
            assert (await client.snapshot.get(short)).id == created.id
            await client.snapshot.delete(created)
            with pytest.raises(sdk.DaytonaNotFoundError):
                await client.snapshot.get(short)

            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            try:
                assert (await sandbox.process.code_run("print(6 * 7)")).result.strip() == "42"
                assert (await sandbox.process.exec("exit 5")).exit_code == 5
                await sandbox.fs.upload_file(b"bytes \x00\xff", "/data/x")
                assert await sandbox.fs.download_file("/data/x") == b"bytes \x00\xff"
                await sandbox.stop()
                await sandbox.start()
                assert (await sandbox.process.exec("wc -c < /data/x")).result.strip() == "8"
            finally:
                await sandbox.delete()

    asyncio.run(story())
