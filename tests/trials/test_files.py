"""A folder of trial files is read whole: what is good is kept by its key, what is not is named with its reason."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from genesis.errors import ConfigError, StoreError
from genesis.trials import file_cache, files
from genesis.trials.file_cache import FileCache, active_cache, read_bytes
from genesis.trials.files import load_existing_trials, read_folder
from genesis.trials.identity import trial_key

BAD = {
    "trial_cut.json": ('{"parameters": {"a": 1', "is not JSON"),
    "trial_empty.json": ("", "is not JSON"),
    "trial_list.json": ("[1]", "holds list, not a mapping"),
    "trial_bare.json": ('{"score": 1}', "has no `parameters`"),
    "trial_nan.json": ('{"parameters": {"a": {"b": NaN}}}', "a.b: nan is not a finite number"),
    "trial_text.json": ('{"parameters": "x"}', "has no `parameters`"),
}


def write(folder: Path, count: int) -> dict[str, dict]:
    expected = {}
    for n in range(count):
        trial = {"trial_id": f"trial_{n:04d}", "parameters": {"a": {"b": n / 8}, "n": n}, "score": {"score": n * 0.1}}
        (folder / f"trial_{n:04d}.json").write_text(json.dumps(trial, indent=1))
        expected[trial_key(trial["parameters"])] = trial
    return expected


def test_every_good_file_by_its_key(tmp_path: Path) -> None:
    """Keys are `trial_key` of the parameters, values the whole content; other files are not looked at."""
    expected = write(tmp_path, 5)
    (tmp_path / "summary.json").write_text("{")
    (tmp_path / "trial_0.txt").write_text("{")
    assert load_existing_trials(tmp_path) == expected
    assert load_existing_trials(str(tmp_path)) == expected
    assert load_existing_trials(tmp_path / "absent") == {}


def test_a_bad_file_is_named_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of damage has its reason, a warning is logged, the others are loaded, nothing on disk changes."""
    expected = write(tmp_path, 3)
    for name, (text, _) in BAD.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "trial_folder.json").mkdir()
    (tmp_path / "trial_bytes.json").write_bytes(b'{"parameters": {"a": "\xff\xfe"}}')
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with caplog.at_level(logging.WARNING):
        assert load_existing_trials(tmp_path) == expected
    refused = {each.name: each.reason for each in read_folder(tmp_path).refused}
    assert refused.keys() == BAD.keys() | {"trial_folder.json", "trial_bytes.json"}
    for name, (_, words) in BAD.items():
        assert words in refused[name]
        assert name in caplog.text
    assert "cannot be read" in refused["trial_folder.json"]
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("slow", [0.0, 1e9], ids=["threads", "one thread"])
def test_many_files_by_one_thread_or_by_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float) -> None:
    """The order and the answers are those of the file names, whoever reads them."""
    monkeypatch.setattr(files, "_SLOW_FILE", slow)
    monkeypatch.setattr(files, "_CHUNK", 7)
    expected = write(tmp_path, 60)
    (tmp_path / "trial_0033x.json").write_text("{")
    found = read_folder(tmp_path)
    assert {item.key: item.trial for item in found.files} == expected
    assert [item.name for item in found.files] == sorted(item.name for item in found.files)
    assert [item.name for item in found.refused] == ["trial_0033x.json"]


def test_of_two_files_with_one_key_the_later_stays(tmp_path: Path) -> None:
    """Order of keys and of writing do not matter, the file name does."""
    (tmp_path / "trial_2.json").write_text('{"parameters": {"b": 2, "a": 1}, "score": 2}')
    (tmp_path / "trial_1.json").write_text('{"parameters": {"a": 1, "b": 2}, "score": 1}')
    assert [trial["score"] for trial in load_existing_trials(tmp_path).values()] == [2]


def test_what_the_standard_library_writes_is_read(tmp_path: Path) -> None:
    """NaN and infinity in metrics, and integers beyond 64 bits, arrive as they were."""
    trial = {"parameters": {"big": 2**80}, "metrics": {"pf": float("inf")}, "params": {"other": 1}}
    (tmp_path / "trial_1.json").write_text(json.dumps(trial))
    ((key, loaded),) = load_existing_trials(tmp_path).items()
    assert loaded == trial
    assert key == trial_key({"big": 2**80})


def test_a_large_file_is_read_whole(tmp_path: Path) -> None:
    """A file longer than one read is put together again, also at the exact length of one read."""
    for size in (0, 1, 65_535, 65_536, 65_537, 3_000_000):
        path = tmp_path / "x"
        data = os.urandom(size)
        path.write_bytes(data)
        assert read_bytes(str(path)) == data


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    """The path and the remedy."""
    with pytest.raises(StoreError, match=r"cannot be listed.*give a folder"):
        read_folder(tmp_path / "absent")


@pytest.fixture
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_cache, "_cache", None)


def _rewrite_unnoticed(path: Path, text: str) -> None:
    state = path.stat()
    assert len(text) == state.st_size
    path.write_text(text)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.usefixtures("_no_cache")
@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("true", 1), ("0", 2), ("", 2), (None, 2)])
def test_the_cache_is_switched_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, expected: int
) -> None:
    """With it on, a file rewritten with the same size and time is not read again; with it off, it is."""
    monkeypatch.delenv(file_cache.CACHE_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(file_cache.CACHE_VARIABLE, value)
    path = tmp_path / "trial_1.json"
    path.write_text('{"parameters": {"a": 1}}')
    first = load_existing_trials(tmp_path)
    next(iter(first.values()))["parameters"]["a"] = 99
    _rewrite_unnoticed(path, '{"parameters": {"a": 2}}')
    (again,) = load_existing_trials(tmp_path).values()
    assert again == {"parameters": {"a": expected}}
    path.write_text('{"parameters": {"a": 30}}')
    (changed,) = load_existing_trials(tmp_path).values()
    assert changed == {"parameters": {"a": 30}}


@pytest.mark.usefixtures("_no_cache")
def test_the_cache_has_the_size_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 files by default; the least recently used leaves."""
    write(tmp_path, 4)
    monkeypatch.setenv(file_cache.CACHE_VARIABLE, "1")
    monkeypatch.delenv(file_cache.SIZE_VARIABLE, raising=False)
    cache = active_cache()
    assert cache is not None
    assert cache.size == 256
    monkeypatch.setenv(file_cache.SIZE_VARIABLE, "3")
    load_existing_trials(tmp_path)
    cache = active_cache()
    assert cache is not None
    assert (cache.size, len(cache), cache.misses, cache.hits) == (3, 3, 4, 0)
    cache.read(str(tmp_path / "trial_0001.json"))
    cache.read(str(tmp_path / "trial_0000.json"))
    cache.read(str(tmp_path / "trial_0001.json"))
    assert (cache.misses, cache.hits) == (5, 2)


@pytest.mark.parametrize("text", ["0", "-5", "1e3", "many", "99999999", "3.5", "nan"])
def test_an_absurd_cache_size_is_refused_by_name(text: str) -> None:
    """Also while the cache is off: a wrong setting is said at once."""
    with pytest.raises(ConfigError, match=f"GENESIS_OPTIMIZER_JSON_CACHE_SIZE: '{text}'"):
        active_cache({"GENESIS_OPTIMIZER_JSON_CACHE_SIZE": text})


@pytest.mark.parametrize("text", ["2", "maybe", "-1"])
def test_an_absurd_switch_is_refused_by_name(text: str) -> None:
    """Neither on nor off."""
    with pytest.raises(ConfigError, match=f"GENESIS_OPTIMIZER_JSON_CACHE: '{text}'"):
        active_cache({"GENESIS_OPTIMIZER_JSON_CACHE": text})


def test_a_cache_asked_for_a_missing_file_says_so(tmp_path: Path) -> None:
    """The error is the one of opening it, and a file that went is not answered from memory."""
    cache = FileCache(2)
    path = tmp_path / "x"
    path.write_bytes(b"1")
    assert cache.read(str(path)) == b"1"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cache.read(str(path))
