"""Numbered changes to the store's SQLite schema; each runs once, in order, and is recorded in ``migrations``.

A released migration is never edited: a new change is a new function at the end of MIGRATIONS. So the table ``runs`` of
m003, which nothing has ever written, stays in the file.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from saeeval_core.ledger.tables import LATER, TABLES

_NOW = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"


def m001_decisions(c: Connection) -> None:
    """Sets of decisions about latents."""
    _run(
        c,
        f"""
        create table decision_sets (
          id integer primary key autoincrement, name text not null, who text not null,
          metric text not null check (metric in ('shift', 'tpp')), task text not null, direction text not null,
          sae_fingerprint text not null, recording_fingerprint text not null,
          copied_from integer references decision_sets(id), created text not null default ({_NOW}));
        create index decision_sets_view on decision_sets(metric, task, direction, sae_fingerprint);
        create table set_names (
          id integer primary key autoincrement, set_id integer not null references decision_sets(id),
          name text not null, who text not null, at text not null default ({_NOW}));
        create index set_names_set on set_names(set_id);
        create table decisions (
          id integer primary key autoincrement, set_id integer not null references decision_sets(id),
          who text not null, at text not null default ({_NOW}), latent integer not null check (latent >= 0),
          old text not null check (old in ('ablate', 'keep', 'unsure', 'none')),
          new text not null check (new in ('ablate', 'keep', 'unsure', 'none')), reason text not null default '');
        create index decisions_set on decisions(set_id, latent)""",
    )
    _append_only(c, "decision_sets", "set_names", "decisions")


def m002_undo_looks_commits(c: Connection) -> None:
    """Batches of decisions and undo; dev scores that were shown; commits."""
    _run(
        c,
        f"""
        alter table decisions add column batch text not null default '';
        alter table decisions add column undoes integer references decisions(id);
        create table looks (
          id integer primary key autoincrement, set_id integer not null references decision_sets(id),
          who text not null, at text not null default ({_NOW}), ids_fingerprint text not null,
          unique (set_id, ids_fingerprint));
        create table commits (
          id integer primary key autoincrement, set_id integer not null references decision_sets(id),
          who text not null, at text not null default ({_NOW}), ids text not null, test text not null,
          dev_looks integer not null)""",
    )
    _append_only(c, "looks", "commits")


def m003_verdicts(c: Connection) -> None:
    """Raters' verdicts on latents, and batches sent to a judge."""
    _run(
        c,
        f"""
        create table verdicts (
          id integer primary key autoincrement, key text not null, sae_fingerprint text not null, sae text not null,
          latent integer not null check (latent >= 0), task text not null, rater text not null,
          rater_kind text not null check (rater_kind in ('llm', 'local', 'human', 'imported')),
          model text not null, prompt text not null, evidence_hash text not null, explanation text not null,
          reason text not null, ratings text not null, status text not null, raw text not null,
          at text not null default ({_NOW}));
        create index verdicts_key on verdicts(key, status);
        create index verdicts_sae on verdicts(sae_fingerprint, rater, latent);
        create table judge_batches (
          id integer primary key autoincrement, batch_id text not null, at text not null default ({_NOW}),
          event text not null check (event in ('created', 'collected')), content text not null);
        create table runs (
          id integer primary key autoincrement, at text not null default ({_NOW}), who text not null,
          kind text not null, config text not null, result text not null)""",
    )
    _append_only(c, "verdicts", "judge_batches", "runs")


def m004_presses(c: Connection) -> None:
    """Presses that were carried out; each is written with its effect."""
    _run(
        c,
        f"""
        create table presses (
          id integer primary key autoincrement, client text not null, seq integer not null, who text not null,
          kind text not null, at text not null default ({_NOW}), unique (client, seq))""",
    )
    _append_only(c, "presses")


_SEALED = ("decision_sets", "set_names", "decisions", "looks", "commits", "verdicts", "judge_batches", "presses")
"""Tables of the migrations before m005."""


def m005_seals(c: Connection) -> None:
    """A checksum with every row; where rows of other stores came from; repairs of this file.

    Rows that are there already are sealed as they are, and marked as sealed later.
    """
    _run(
        c,
        f"""
        create table origins (
          id integer primary key autoincrement, table_name text not null, row_id integer not null,
          identity text not null, source text not null, at text not null default ({_NOW}));
        create index origins_row on origins(table_name, row_id);
        create table repairs (
          id integer primary key autoincrement, aside text not null, kept text not null, lost text not null,
          at text not null default ({_NOW}))""",
    )
    for table in _SEALED:
        c.exec_driver_sql(f"alter table {table} add column seal text")
        c.exec_driver_sql(f"drop trigger {table}_no_update")
        _seal_all(c, table)
        c.exec_driver_sql(f"drop trigger {table}_no_delete")
    for table in ("origins", "repairs"):
        c.exec_driver_sql(f"alter table {table} add column seal text")
    for table in (*_SEALED, "origins", "repairs"):
        _append_only(c, table)
        _only_sealed(c, table)


def _seal_all(c: Connection, table: str) -> None:
    about = TABLES[table]
    names = ", ".join(about.columns)
    for row in c.exec_driver_sql(f"select {names} from {table}").fetchall():
        seal = LATER + about.seal(tuple(row))
        c.exec_driver_sql(f"update {table} set seal = ? where id = ?", (seal, row[0]))


def m006_owners(c: Connection) -> None:
    """Sets that passed to another owner; what is known of a set before it came into this store."""
    _run(
        c,
        f"""
        create table set_owners (
          id integer primary key autoincrement, set_id integer not null references decision_sets(id),
          who text not null, at text not null default ({_NOW}));
        create index set_owners_set on set_owners(set_id);
        create table set_origins (
          id integer primary key autoincrement, set_id integer not null unique references decision_sets(id),
          dev_looks integer, at text not null default ({_NOW}))""",
    )
    for table in ("set_owners", "set_origins"):
        c.exec_driver_sql(f"alter table {table} add column seal text")
        _append_only(c, table)
        _only_sealed(c, table)


def m007_stories(c: Connection) -> None:
    """What people made of the stories of sets."""
    _run(
        c,
        f"""
        create table stories (
          id integer primary key autoincrement, set_id integer not null references decision_sets(id),
          who text not null, at text not null default ({_NOW}), plan text not null, seal text);
        create index stories_set on stories(set_id)""",
    )
    _append_only(c, "stories")
    _only_sealed(c, "stories")


def _only_sealed(c: Connection, table: str) -> None:
    """A server of an earlier version that still runs must not write rows that this one would take for damaged."""
    c.exec_driver_sql(
        f"create trigger {table}_sealed before insert on {table} when new.seal is null "
        f"begin select raise(abort, 'the store belongs to a newer version now; restart saeeval'); end"
    )


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    m001_decisions,
    m002_undo_looks_commits,
    m003_verdicts,
    m004_presses,
    m005_seals,
    m006_owners,
    m007_stories,
)


def migrate(c: Connection, migrations: tuple[Callable[[Connection], None], ...] = MIGRATIONS) -> int:
    """Apply missing migrations in the caller's transaction. Returns the number of applied ones it does not know."""
    _run(c, f"create table if not exists migrations (name text primary key, at text not null default ({_NOW}))")
    done = {row[0] for row in c.execute(text("select name from migrations"))}
    for migration in migrations:
        if migration.__name__ not in done:
            migration(c)
            c.execute(text("insert into migrations (name) values (:name)"), {"name": migration.__name__})
    return len(done - {m.__name__ for m in migrations})


def _run(c: Connection, statements: str) -> None:
    for statement in statements.split(";"):
        c.exec_driver_sql(statement)


def _append_only(c: Connection, *tables: str) -> None:
    """Nothing recorded is ever changed or removed, not even by a bug."""
    for table in tables:
        for verb in ("update", "delete"):
            c.exec_driver_sql(
                f"create trigger {table}_no_{verb} before {verb} on {table} "
                f"begin select raise(abort, '{table} is append-only'); end"
            )
