"""What the official Python SDK does with files, sync and async. The environment has DAYTONA_API_URL and DAYTONA_API_KEY."""

import asyncio
import inspect
import io
import os
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]


@pytest.fixture(scope="module")
def snapshot():
    client = sdk.Daytona()
    name = f"files-{uuid.uuid4().hex[:8]}"
    client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    yield name
    client.snapshot.delete(client.snapshot.get(name))


async def settled(value):
    """Of the sync client the value itself, of the async one what it resolves to."""
    return await value if inspect.isawaitable(value) else value


async def all_file_calls(sandbox, local):
    fs = sandbox.fs
    await settled(fs.create_folder("project/src", "750"))
    await settled(fs.upload_file(b"a = 1  # TODO: one\n", "project/src/a.py"))
    await settled(
        fs.upload_files(
            [
                sdk.FileUpload(source=b"TODO: two\n", destination='project/zwei "\u00fc".txt'),
                sdk.FileUpload(source=b"three", destination="project/new/deep/three"),
            ]
        )
    )
    info = await settled(fs.get_file_info("project/src"))
    assert (info.name, info.is_dir, info.permissions) == ("src", True, "0750")
    listed = await settled(fs.list_files("project"))
    assert [(item.name, item.is_dir) for item in listed] == [("new", True), ("src", True), ('zwei "\u00fc".txt', False)]
    assert all(item.owner and item.group and item.mod_time for item in listed)

    found = await settled(fs.search_files("project", "*.py"))
    assert [path.rsplit("/", 2)[1:] for path in found.files] == [["src", "a.py"]]
    matches = await settled(fs.find_files("project", "TODO:"))
    assert sorted((match.line, match.content) for match in matches) == [(1, "TODO: two"), (1, "a = 1  # TODO: one")]
    results = await settled(fs.replace_in_files(["project/src/a.py", "project/none"], "TODO", "DONE"))
    assert [result.success for result in results] == [True, False]

    await settled(fs.set_file_permissions("project/src/a.py", "600", "root", "root"))
    await settled(fs.move_files("project/src/a.py", "project/b.py"))
    moved = await settled(fs.get_file_info("project/b.py"))
    assert (moved.mode, moved.owner) == ("-rw-------", "root")
    assert await settled(fs.download_file("project/b.py")) == b"a = 1  # DONE: one\n"
    await settled(fs.download_file('project/zwei "\u00fc".txt', str(local / "two")))
    assert (local / "two").read_bytes() == b"TODO: two\n"
    answers = await settled(
        fs.download_files(
            [sdk.FileDownloadRequest(source="project/new/deep/three"), sdk.FileDownloadRequest(source="project/none")]
        )
    )
    assert answers[0].result == b"three"
    assert "does not exist" in answers[1].error

    with pytest.raises(sdk.DaytonaError):
        await settled(fs.delete_file("project"))
    await settled(fs.delete_file("project/b.py"))
    await settled(fs.delete_file("project", True))
    with pytest.raises(sdk.DaytonaNotFoundError):
        await settled(fs.list_files("project"))
    with pytest.raises(sdk.DaytonaError, match="does not exist"):
        await settled(fs.download_file("project/b.py"))

    if hasattr(fs, "upload_file_stream"):
        content = os.urandom(3_000_000)
        await settled(fs.upload_file_stream(io.BytesIO(content), "streamed"))
        opened = await settled(fs.download_file_stream("streamed"))
        if hasattr(opened, "__aiter__"):
            assert b"".join([chunk async for chunk in opened]) == content
        else:
            assert b"".join(opened) == content


def test_sync(snapshot, tmp_path):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=snapshot, os_user="root"))
    try:
        # The sync client runs a loop of its own nowhere, so one around it does no harm.
        asyncio.run(all_file_calls(sandbox, tmp_path))
    finally:
        client.delete(sandbox)


def test_async(snapshot, tmp_path):
    async def run():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=snapshot, os_user="root"))
            try:
                await all_file_calls(sandbox, tmp_path)
            finally:
                await client.delete(sandbox)

    asyncio.run(run())
