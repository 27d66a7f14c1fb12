import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fieldsight.datasets import mnist
from fieldsight.datasets.errors import DataError, DatasetNotFoundError


class Server:
    """A mirror on this machine: what it serves, what it cuts short, what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                outer.requests.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if name in outer.cut else content)

            def log_message(self, *args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}/mnist"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves a small set whose hashes stand in for those of the published 55 MB."""
    served = Server()
    rng = np.random.default_rng(0)
    hashes = {}
    for name in mnist.SHA256:
        shape = (5, 28, 28) if "images" in name else (5,)
        values = rng.integers(0, 10, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        content = header + values.tobytes()
        served.files[name + ".gz"] = gzip.compress(content, 9)
        hashes[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(mnist, "SHA256", hashes)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    thread = threading.Thread(target=served.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_fetched_once_and_then_never_asked_for(server: Server, tmp_path: Path) -> None:
    train, test = mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert len(train) == len(test) == 5
    assert len(server.requests) == 4
    again, _ = mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert again.fingerprint == train.fingerprint
    assert len(server.requests) == 4
    assert names(tmp_path) == sorted(mnist.SHA256)


def test_the_variable_names_a_mirror(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDSIGHT_MNIST_URL", server.base + "/")
    mnist.load(cache_dir=tmp_path)
    assert len(server.requests) == 4


def test_another_archive_of_the_same_content_passes(server: Server, tmp_path: Path) -> None:
    for name, packed in server.files.items():
        server.files[name] = gzip.compress(gzip.decompress(packed), 1, mtime=12345)
        assert server.files[name] != packed
    mnist.load(cache_dir=tmp_path, mirrors=[server.base])


def test_wrong_content_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    name = "train-labels-idx1-ubyte.gz"
    right = server.files[name]
    server.files[name] = gzip.compress(b"something else")
    with pytest.raises(DataError, match=r"train-labels.*needs MNIST's content.*Nothing.*kept"):
        mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert names(tmp_path) == ["train-images-idx3-ubyte"]
    server.files[name] = right
    mnist.load(cache_dir=tmp_path, mirrors=[server.base])


def test_what_is_no_archive_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["train-images-idx3-ubyte.gz"] = b"<html>log in to this network</html>"
    with pytest.raises(DataError, match="needs MNIST's content"):
        mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert names(tmp_path) == []


def test_a_cut_connection_leaves_nothing_and_the_next_start_succeeds(
    server: Server, tmp_path: Path
) -> None:
    server.cut = {"train-images-idx3-ubyte.gz"}
    with pytest.raises(DatasetNotFoundError, match="connection was cut"):
        mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert names(tmp_path) == []
    server.cut = set()
    train, _ = mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert len(train) == 5


def test_the_second_mirror_serves_when_the_first_fails(server: Server, tmp_path: Path) -> None:
    train, _ = mnist.load(cache_dir=tmp_path, mirrors=[server.base + "x", server.base])
    assert len(train) == 5


def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server, tmp_path: Path) -> None:
    mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"half")
    mnist.load(cache_dir=tmp_path, mirrors=[server.base])
    assert server.requests[4:] == ["t10k-labels-idx1-ubyte.gz"]


def test_offline_says_what_to_download_whereto_and_what_needs_nothing(tmp_path: Path) -> None:
    # Port 9 of this machine: nothing listens there.
    with pytest.raises(DatasetNotFoundError) as caught:
        mnist.load(cache_dir=tmp_path, mirrors=["http://127.0.0.1:9/mnist"])
    message = str(caught.value)
    for part in ("train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", str(tmp_path)):
        assert part in message
    assert "--data-dir" in message
    assert "--data uci` needs nothing" in message
    assert "\n" not in message


def test_published_hashes_are_those_of_the_real_files(mnist_dir: Path) -> None:
    for name, expected in mnist.SHA256.items():
        content = gzip.decompress((mnist_dir / f"{name}.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == expected
