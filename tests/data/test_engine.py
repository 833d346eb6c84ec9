"""Many queries in one process of their own: what each answers, or with which error it is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.client.two_peers import Shared
from tests.data.conftest import ROWS

PROGRAM = """
import json, sys
from pathlib import Path
from p2p.client.filesystem.system import ShoalFileSystem
from p2p.client.sql import results
from p2p.client.sql.engine import open_engine
from p2p.client.sql.literals import named_shares
from p2p.errors import ShoalError

home, link, allowed, peers, queries = json.loads(sys.stdin.read())
system = ShoalFileSystem(home, wait_s=1, only_used=True)
said = []
with open_engine(system, map(Path, allowed), 512 << 20) as engine:
    for query in queries:
        try:
            *first, last = engine.statements(query.replace("LINK", link), named_shares([f"t={link}"])) or [None]
            for statement in first:
                engine.perform(statement)
            selected = engine.selected(last)
            if selected is None:
                said.append(engine.perform(last).fetchall())
            else:
                said.append([*results.lines(engine, selected, "csv")])
                table = results.table(engine, selected, 1)
                assert len(table.rows) <= 1
                for form in results.FORMATS:
                    results.save(engine, selected, form, engine.temp / form)
        except (ShoalError, TypeError) as error:
            said.append(f"{type(error).__name__}: {error}")
system.close()
print(json.dumps(said))
"""


def asked(shared: Shared, *queries: str, allowed: tuple[Path, ...] = ()) -> list[Any]:
    given = json.dumps([str(shared.reader.home), shared.link, list(map(str, allowed)), [], queries])
    ended = subprocess.run([sys.executable, "-c", PROGRAM], input=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    answers: list[Any] = json.loads(ended.stdout)
    return answers


def test_queries_read_shares_and_tables_of_their_own(shared: Shared) -> None:
    file = shared.folder.parent / "alone.csv"
    file.write_text("x\n1\n")
    alone = shared.owner.run("share", file, "--json").json()["link"]
    answers = {
        "select count(*) c, sum(n) s from 'LINK/all.csv'": ["c,s", f"{ROWS},{sum(range(ROWS))}"],
        "create table a as from 'LINK/all.csv'; select max(n) m from a": ["m", f"{ROWS - 1}"],
        "select count(*) c from 't/parts/*.jsonl'": ["c", f"{ROWS}"],
        "select count(*) c from 'LINK/**/*.jsonl'": ["c", f"{ROWS}"],
        f"select x from '{alone}'": ["x", "1"],
        "select null a, 'x,\"y' a, [1, 2] c where true /* ; */ ;": ["a,a,c", ',"x,""y","[1, 2]"'],
        "from a where false": ["n,name"],
        "select column_name from (describe from 'LINK/all.csv')": ["column_name", "n", "name"],
    }
    *found, nothing, several = asked(shared, *answers, "from 'LINK/nothing.csv'", "from 'LINK'")
    for query, answer, said in zip(answers, answers.values(), found, strict=True):
        assert said == answer, query
    assert "No files found" in nothing
    assert "which files of the share" in several


def test_no_share_is_read_that_the_query_does_not_name(shared: Shared) -> None:
    file = shared.folder.parent / "other.csv"
    file.write_text("x\n1\n")
    other = shared.owner.run("share", file, "--json").json()
    address = f"shoal://{other['id']}/other.csv"
    refused, named, computed = asked(
        shared,
        f"from read_text('sho' || 'al://{other['id']}/other.csv')",
        f"select x from '{other['link']}'",
        f"select content from read_text('sho' || '{address.removeprefix('sho')}')",
    )
    assert "none of the shares that may be read here" in refused
    assert named == ["x", "1"]
    assert "1" in str(computed), "it is named by now"


def test_the_wall_holds(shared: Shared, tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "x.csv").write_text("a\n1\n")
    (outside / "link").symlink_to(outside)
    refused = [
        f"from '{outside}/x.csv'",
        f"from read_text('{inside}/../out/x.csv')",
        f"from glob('{tmp_path}/*')",
        "from glob('/etc/*')",
        "from read_text('/proc/self/environ')",
        f"copy (select 1) to '{outside}/new.csv'",
        "copy (select 1) to 'new.csv'",
        f"attach '{outside}/x.db'",
        f"export database '{outside}'",
        "from 'http://127.0.0.1:9/x.csv'",
        "from read_csv('https://127.0.0.1:9/x.csv')",
    ]
    failing = [
        "selec 1",
        "set enable_external_access = true",
        "reset allowed_directories",
        "set lock_configuration = false",
        "set memory_limit = '1TB'",
        "install httpfs",
        "load httpfs",
        "select * from system",
        "select getenv('HOME')",
    ]
    allowed, *answers = asked(shared, f"select a from '{inside}/x.csv'", *refused, *failing, allowed=(inside,))
    assert allowed == ["a", "1"]
    for query, said in zip([*refused, *failing], answers, strict=True):
        assert isinstance(said, str), (query, said)
        assert "--allow" in said or query in failing, (query, said)
    assert sorted(one.name for one in outside.iterdir()) == ["link", "x.csv"]
