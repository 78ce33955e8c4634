//! Where the error of a job was made, and which lines it passed.

use std::panic::Location;

use deferred_threadpool::{Deferred, Failure, Job, PoolStopped, ThreadPool, inspect};

use super::{all, hold};

fn parse(text: &str) -> Result<u32, Failure> {
    Ok(text.parse()?) // PARSE
}

fn line_of_parse() -> u32 {
    include_str!("origins.rs").lines().position(|line| line.ends_with("// PARSE")).unwrap() as u32 + 1
}

fn lines(failure: &Failure) -> Vec<u32> {
    let of_this_file = |at: &&Location<'_>| at.file() == file!();
    assert!(failure.trail().iter().all(|at| of_this_file(&at)), "{failure:?}");
    failure.trail().iter().map(Location::line).collect()
}

#[test]
fn an_error_of_a_job_names_its_line_and_the_submission() {
    let pool = ThreadPool::new(1);
    let shared = pool.clone();
    let submitted = line!() + 1;
    let results = all(move |_| vec![shared.defer_to_thread(|| parse("x"))]);
    let [Err(failure)] = &results[..] else { panic!("{results:?}") };
    assert_eq!((failure.made_at().file(), failure.made_at().line()), (file!(), line_of_parse()));
    assert_eq!(lines(failure)[0], submitted);
    let text = format!("{failure:?}");
    assert!(text.contains("\n    made at ") && !text.contains("/src/"), "{text}");

    let submitted = line!() + 1;
    let failure = pool.submit(|_: &Job<'_>| parse("x")).wait().unwrap_err();
    assert_eq!(failure.made_at().line(), line_of_parse());
    assert_eq!(lines(&failure), [submitted]);
}

#[test]
fn a_panic_of_a_job_names_the_submission() {
    let pool = ThreadPool::new(1);
    let submitted = line!() + 1;
    let results = all(move |_| vec![pool.defer_to_thread(|| -> Result<(), Failure> { panic!("on purpose") })]);
    assert_eq!(lines(results[0].as_ref().unwrap_err())[0], submitted);
}

#[test]
fn a_refused_job_names_the_submission() {
    let pool = ThreadPool::new(1);
    let mut submitted = 0;
    let results = all(|_| -> Vec<Deferred<()>> {
        drop(pool.stop());
        submitted = line!() + 1;
        vec![pool.defer_to_thread(|| Ok(()))]
    });
    let failure = results[0].as_ref().unwrap_err();
    assert!(failure.check::<PoolStopped>() && lines(failure).contains(&submitted), "{failure:?}");
}

#[test]
fn a_pending_job_is_listed_with_where_it_is() {
    let _on = inspect::enable();
    let pool = ThreadPool::new(1);
    let results = all(|reactor| {
        let (held, release) = hold(&pool);
        let submitted = line!() + 1;
        let queued = pool.defer_to_thread(|| Ok(()));
        let text = reactor.pending().to_string();
        assert!(text.contains(", running for "), "{text}");
        let line = text.lines().find(|line| line.contains("queued at place 1, 1 threads busy")).expect("it is queued");
        assert!(line.starts_with(&format!("job made at {}:{submitted}:", file!())), "{line}");
        release.send(()).unwrap();
        vec![held, queued]
    });
    assert!(results.iter().all(Result::is_ok));
}
