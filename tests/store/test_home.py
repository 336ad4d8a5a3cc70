from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE

import pytest

from operator_embed.box import home as homes
from operator_embed.box.home import Home, HomeError, filesystem


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_prepare_makes_folders_for_their_owner_only(home: Home) -> None:
    home.root.mkdir(mode=0o755)
    home.prepare()
    home.prepare()
    made = [home.root, home.secrets, home.weights, home.logs, home.nats, home.procs, home.sockets, home.bells]
    assert {mode(folder) for folder in made} == {0o700}


def test_a_network_file_system_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "filesystem", lambda path: "nfs4")
    with pytest.raises(HomeError, match=r"network file system \(nfs4\); set UPLION_HOME"):
        home.prepare()


def test_the_file_system_is_the_one_mounted_last_and_deepest(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 0:9 / /net rw shared:1 - nfs4 server:/x rw\n"
        "3 1 0:9 / /net/my\\040box rw - xfs /dev/sdb rw\n"
        "4 1 0:9 / /net rw - cifs //server/x rw\n"
    )
    found = [filesystem(Path(path), mounts) for path in ("/network", "/net/a", "/net/my box/b")]
    assert found == ["ext4", "cifs", "xfs"]
    assert filesystem(tmp_path, tmp_path / "no") == ""
    assert filesystem(tmp_path) != ""


def test_a_socket_folder_that_others_can_enter_is_refused(home: Home) -> None:
    home.sockets.mkdir(parents=True)
    home.sockets.chmod(0o777)
    with pytest.raises(HomeError, match="open to other users"):
        home.prepare()


def test_a_link_planted_in_place_of_the_socket_folder_is_refused(home: Home, tmp_path: Path) -> None:
    home.sockets.parent.mkdir(parents=True)
    os.symlink(tmp_path, home.sockets)
    with pytest.raises(HomeError, match="is not a folder of yours"):
        home.prepare()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what is another's")
def test_folders_of_another_user_are_refused(home: Home) -> None:
    home.sockets.mkdir(mode=0o700, parents=True)
    os.chown(home.sockets, 65534, 65534)
    with pytest.raises(HomeError, match="owner has uid 65534"):
        home.prepare()
    os.chown(home.sockets, 0, 0)
    os.chown(home.root, 65534, 65534)
    with pytest.raises(HomeError, match=f"{home.root}: is not a folder of yours"):
        home.prepare()
    os.chown(home.root, 0, 0)


def test_sockets_of_a_deep_home_lie_in_the_temporary_folder(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = Home(home.root.parent / ("d" * 90))
    monkeypatch.setattr(tempfile, "tempdir", str(home.root.parent))
    deep.prepare()
    assert deep.sockets.parent == home.root.parent
    assert mode(deep.sockets) == 0o700
    monkeypatch.setattr(tempfile, "tempdir", str(deep.root))
    with pytest.raises(HomeError, match="107 are possible; set UPLION_HOME or TMPDIR"):
        deep.prepare()


def test_a_file_in_place_of_the_home_is_one_line(home: Home) -> None:
    home.root.write_text("")
    with pytest.raises(HomeError, match=f"{home.root}: "):
        home.prepare()


def test_without_a_word_it_is_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UPLION_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert Home.default().root == Path("/home/someone/.local/share/uplion")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Home.default().root == Path("/data/uplion")
    monkeypatch.setenv("UPLION_HOME", "~/box")
    assert Home.default().root == Path("/home/someone/box")


USES = "import sys; from operator_embed.box.home import Home, Path; Home(Path(sys.argv[1])).prepare(); "


def test_the_last_process_that_used_them_removes_sockets_outside_of_the_home(home: Home) -> None:
    deep, public = home.root.parent / ("d" * 90), home.root.parent / "public"
    public.mkdir()

    def use(then: str) -> subprocess.Popen[bytes]:
        argv = (sys.executable, "-c", USES + then, str(deep))
        return subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(public)}, stdin=PIPE, stdout=PIPE)

    with use("print(flush=True); input()") as stays:
        assert stays.stdout is not None
        stays.stdout.readline()
        assert use("").wait() == 0
        [folder] = public.iterdir()
        stays.kill()
    (folder / "engine.sock").touch()
    several = [use("") for _ in range(4)]
    assert [one.wait() for one in several] == [0, 0, 0, 0]
    assert list(public.iterdir()) == []
