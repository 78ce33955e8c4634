//! Queries, transactions, and the state in which a connection is returned.

use deferred_threadpool::{Failure, PooledConnection};
use r2d2_postgres::postgres::Error;
use r2d2_postgres::postgres::error::SqlState;

use super::{Table, backend, builder, close, pool, run};

fn code(failure: &Failure) -> Option<&SqlState> {
    failure.downcast_ref::<Error>()?.code()
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn queries_and_operations_have_typed_parameters_and_rows() {
    let _table = Table::new("people", "name TEXT, age INTEGER");
    let pool = pool(1);
    let insert = "INSERT INTO people VALUES ($1, $2), ($3, $4)";
    assert_eq!(run(|| pool.run_operation(insert, ("Ada", 36, "Grace", 85))).unwrap(), 2);
    let older = run(|| {
        pool.run_query("SELECT name, age FROM people WHERE age > $1 ORDER BY age", [18], |row| {
            Ok((row.try_get::<_, String>(0)?, row.try_get::<_, i32>(1)?))
        })
    });
    assert_eq!(older.unwrap(), [("Ada".to_owned(), 36), ("Grace".to_owned(), 85)]);
    let none = run(|| {
        pool.run_query(format!("SELECT name FROM people WHERE age > {}", 100), (), |row| {
            Ok(row.try_get::<_, String>(0)?)
        })
    });
    assert!(none.unwrap().is_empty());
    let wrong = run(|| pool.run_query("SELECT name FROM people", (), |row| Ok(row.try_get::<_, i32>(0)?)));
    assert!(wrong.unwrap_err().check::<Error>());
    let syntax = run(|| pool.run_operation("SELEKT 1", ())).unwrap_err();
    assert_eq!(code(&syntax), Some(&SqlState::SYNTAX_ERROR));
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn an_interaction_that_ignores_the_error_of_a_statement_fails_and_stores_nothing() {
    let table = Table::new("swallowed", "n INTEGER PRIMARY KEY");
    let pool = pool(1);
    let failed = run(|| {
        pool.run_interaction(|client| {
            client.batch_execute("INSERT INTO swallowed VALUES (1)")?;
            let _ = client.batch_execute("INSERT INTO swallowed VALUES (1)");
            Ok(())
        })
    });
    assert_eq!(code(&failed.unwrap_err()), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    assert_eq!(table.count(), 0);
    run(|| pool.run_interaction(|client| Ok(client.batch_execute("INSERT INTO swallowed VALUES (1)")?))).unwrap();
    assert_eq!(table.count(), 1);
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn an_interaction_that_ends_its_transaction_itself_fails() {
    let table = Table::new("ended", "n INTEGER");
    let pool = pool(1);
    for statement in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN; COMMIT"] {
        let failed = run(|| pool.run_interaction(move |client| Ok(client.batch_execute(statement)?)));
        assert!(failed.unwrap_err().to_string().contains("savepoints"), "{statement}");
    }
    let failed = run(|| {
        pool.run_interaction(|client| {
            client.transaction()?.rollback()?;
            Ok(client.batch_execute("INSERT INTO ended VALUES (1)")?)
        })
    });
    assert!(failed.unwrap_err().to_string().contains("savepoints"));
    // With savepoints, a part can fail.
    run(|| {
        pool.run_interaction(|client| {
            client.batch_execute("INSERT INTO ended VALUES (2); SAVEPOINT part")?;
            client.batch_execute("SELEKT").unwrap_err();
            Ok(client.batch_execute("ROLLBACK TO part")?)
        })
    })
    .unwrap();
    assert_eq!(table.count(), 2);
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_commit_that_fails_fails_the_job_and_leaves_a_clean_connection() {
    let table = Table::new("deferred_check", "n INTEGER UNIQUE DEFERRABLE INITIALLY DEFERRED");
    let pool = pool(1);
    let insert = |numbers: &'static [i32]| {
        run(|| {
            pool.run_interaction(move |client| {
                for number in numbers {
                    client.execute("INSERT INTO deferred_check VALUES ($1)", &[number])?;
                }
                Ok(())
            })
        })
    };
    assert_eq!(code(&insert(&[1, 2, 1]).unwrap_err()), Some(&SqlState::UNIQUE_VIOLATION));
    assert_eq!(table.count(), 0);
    insert(&[1, 2, 3]).unwrap();
    assert_eq!(table.count(), 3);
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_transaction_left_open_is_committed_after_a_value_and_rolled_back_after_an_error() {
    let table = Table::new("left_open", "n INTEGER");
    let pool = pool(1);
    let job = |fails: bool| {
        run(|| {
            pool.run_with_connection(move |client| {
                client.batch_execute("BEGIN; INSERT INTO left_open VALUES (1)")?;
                if fails { Err(Failure::msg("mine")) } else { Ok(()) }
            })
        })
    };
    assert_eq!(job(true).unwrap_err().to_string(), "mine");
    assert_eq!(table.count(), 0);
    job(false).unwrap();
    assert_eq!(table.count(), 1);
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_transaction_left_open_is_found_whatever_the_search_path_hides() {
    let table = Table::new("hidden", "n INTEGER");
    let mock = "DROP SCHEMA IF EXISTS mock CASCADE; CREATE SCHEMA mock; CREATE FUNCTION mock.now() RETURNS timestamptz \
                LANGUAGE sql AS 'SELECT statement_timestamp()'";
    super::admin().batch_execute(mock).unwrap();
    let pool = pool(1);
    for _ in 0..2 {
        let left_open = "SET search_path = mock, public, pg_catalog; BEGIN; INSERT INTO hidden VALUES (1)";
        run(|| pool.run_with_connection(move |client| Ok(client.batch_execute(left_open)?))).unwrap();
    }
    close(&pool);
    super::admin().batch_execute("DROP SCHEMA mock CASCADE").unwrap();
    assert_eq!(table.count(), 2);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn hooks_set_a_connection_up_and_clean_it_after_each_job() {
    let pool = builder(1)
        .on_open(|client| Ok(client.batch_execute("SET search_path = pg_catalog")?))
        .on_return(|client| Ok(client.batch_execute("RESET application_name")?))
        .build();
    let show = |setting: &'static str| {
        run(|| pool.run_query(format!("SHOW {setting}"), (), |row| Ok(row.try_get::<_, String>(0)?))).unwrap().remove(0)
    };
    assert_eq!(show("search_path"), "pg_catalog");
    run(|| pool.run_operation("SET application_name = 'mine'", ())).unwrap();
    assert_eq!(show("application_name"), "");
    assert_eq!(pool.stats().opened, 1);
    close(&pool);
}

#[test]
#[ignore = "needs PostgreSQL: .ci/postgres"]
fn a_discarded_connection_is_replaced() {
    let pool = pool(1);
    let first = run(|| {
        pool.run_interaction(|client| {
            PooledConnection::discard(client);
            Ok(client.query_one("SELECT pg_backend_pid()", &[])?.get::<_, i32>(0))
        })
    });
    assert_ne!(run(|| backend(&pool)).unwrap(), first.unwrap());
    close(&pool);
}
