"""Git through the official Python SDK, sync and async. Where the image has no git, the one of this machine is put into the sandbox."""

import asyncio
import os
import shutil
import uuid

import daytona as sdk
import pytest

IMAGE = os.environ["DARKROOM_TEST_IMAGE"]
PROGRAM = os.path.realpath(shutil.which("git") or "/usr/bin/git")
# What a clone of a path runs by name.
INSTALL = """set -e
chmod 755 /usr/local/bin/git
for name in upload-pack receive-pack; do ln -sf git /usr/local/bin/git-$name; done
git --version"""


@pytest.fixture(scope="module")
def name():
    client = sdk.Daytona()
    name = f"git-{uuid.uuid4().hex[:8]}"
    snapshot = client.snapshot.create(sdk.CreateSnapshotParams(name=name, image=IMAGE), timeout=120)
    yield name
    client.snapshot.delete(snapshot)


def test_without_git_the_error_says_so(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    if sandbox.process.exec("command -v git").exit_code != 0:
        with pytest.raises(sdk.DaytonaError, match="git is not installed in this sandbox"):
            sandbox.git.status("/tmp")
    client.delete(sandbox)


def test_git(name):
    client = sdk.Daytona()
    sandbox = client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
    with open(PROGRAM, "rb") as program:
        sandbox.fs.upload_file(program.read(), "/usr/local/bin/git")
    assert sandbox.process.exec(INSTALL).exit_code == 0
    sandbox.process.exec("git init -q --bare -b main /srv/repo.git && mkdir /srv/seed")
    git = sandbox.git
    git.clone("/srv/repo.git", "work")
    sandbox.fs.upload_file(b"one\n", "work/one.txt")
    status = git.status("work")
    assert [(file.name, str(getattr(file.worktree, "value", file.worktree))) for file in status.file_status] == [
        ("one.txt", "Untracked")
    ]
    git.add("work", ["one.txt"])
    made = git.commit("work", "first", "Me", "me@example.com")
    assert len(made.sha) == 40
    git.push("work")
    git.create_branch("work", "feature")
    git.checkout_branch("work", "feature")
    assert sorted(git.branches("work").branches) == ["feature", "main"]
    git.checkout_branch("work", "main")
    git.delete_branch("work", "feature")
    status = git.status("work")
    assert (status.current_branch, status.ahead, status.behind, status.branch_published) == ("main", 0, 0, True)
    git.clone("/srv/repo.git", "second", commit_id=made.sha)
    git.checkout_branch("second", "main")
    git.commit("work", "empty", "Me", "me@example.com", allow_empty=True)
    git.push("work")
    git.pull("second")
    assert sandbox.process.exec("git log --format=%s", cwd="second").result == "empty\nfirst\n"
    with pytest.raises(sdk.DaytonaError, match="nothing to commit"):
        git.commit("work", "none", "Me", "me@example.com")
    client.delete(sandbox)


def test_async(name):
    async def scenario():
        async with sdk.AsyncDaytona() as client:
            sandbox = await client.create(sdk.CreateSandboxFromSnapshotParams(snapshot=name))
            with open(PROGRAM, "rb") as program:
                await sandbox.fs.upload_file(program.read(), "/usr/local/bin/git")
            assert (await sandbox.process.exec(INSTALL)).exit_code == 0
            await sandbox.process.exec("git init -q -b main made && echo one > made/a")
            await sandbox.git.add("made", ["."])
            await sandbox.git.commit("made", "first", "Me", "me@example.com")
            status = await sandbox.git.status("made")
            assert (status.current_branch, status.file_status) == ("main", [])
            await client.delete(sandbox)

    asyncio.run(scenario())
