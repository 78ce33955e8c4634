//! The results of jobs, and the threads that receive and drop them.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use deferred_threadpool::{
    Abandoned, Backlog, Failure, NoReactor, Panicked, Reactor, ThreadPool, Turn, call_multiple_in_thread,
    defer_to_thread, on_unhandled, park,
};

use crate::{LIMIT, all};

#[test]
fn a_job_runs_on_another_thread_and_its_callbacks_on_this_one() {
    let here = thread::current().id();
    let result = park::run_until(|_| {
        defer_to_thread(|| Ok(thread::current().id())).add_callback(|there| Ok((there, thread::current().id())))
    });
    let (job, callback) = result.unwrap();
    assert_ne!(job, here);
    assert_eq!(callback, here);
}

#[test]
fn an_error_arrives_at_the_errback() {
    let result = park::run_until(|_| defer_to_thread(|| Ok(std::fs::read("/no/such/file")?)));
    assert_eq!(result.unwrap_err().downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_panic_arrives_at_the_errback_and_the_thread_survives() {
    let pool = ThreadPool::new(1);
    let results = all(|_| {
        vec![
            pool.defer_to_thread(|| -> Result<_, Failure> { panic!("the job's own") }),
            pool.defer_to_thread(|| Ok(thread::current().name().map(str::to_owned))),
        ]
    });
    let [Err(failure), Ok(name)] = results.as_slice() else { panic!("{results:?}") };
    assert_eq!(failure.downcast_ref::<Panicked>().unwrap().message(), "the job's own");
    assert_eq!(name.as_deref(), Some("deferred-pool-1"));
}

#[test]
fn jobs_of_one_thread_run_in_submission_order() {
    let pool = ThreadPool::new(1);
    let results = all(|_| (0..100).map(|number| pool.defer_to_thread(move || Ok(number))).collect());
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

#[test]
fn jobs_run_concurrently_up_to_the_maximum_of_threads() {
    let pool = ThreadPool::builder().max_threads(4).name("four").build();
    let barrier = Arc::new(Barrier::new(4));
    let results = all(|_| {
        (0..12)
            .map(|_| {
                let barrier = barrier.clone();
                pool.defer_to_thread(move || {
                    barrier.wait(); // hangs unless four jobs run at once
                    Ok(thread::current().name().unwrap().to_owned())
                })
            })
            .collect()
    });
    let names: HashSet<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(names, ["four-1", "four-2", "four-3", "four-4"].map(str::to_owned).into());
}

#[test]
fn a_pool_crosses_threads() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<ThreadPool>();
}

#[test]
fn without_a_reactor_the_deferred_fails_at_once() {
    let capture = Arc::new(());
    let held = capture.clone();
    let deferred = defer_to_thread(move || {
        drop(held);
        Ok(())
    });
    assert!(deferred.try_take().unwrap().unwrap_err().check::<NoReactor>());
    let deferred = ThreadPool::new(1).defer_to_thread(|| Ok(()));
    assert!(deferred.try_take().unwrap().unwrap_err().check::<NoReactor>());
    assert_eq!(Arc::strong_count(&capture), 1);
}

#[test]
fn on_a_closed_reactor_the_deferred_is_abandoned_at_once() {
    let reactor = Reactor::new();
    reactor.close();
    let deferred = ThreadPool::new(1).defer_to_thread_on(&reactor, || -> Result<(), Failure> { unreachable!() });
    assert!(deferred.try_take().unwrap().unwrap_err().check::<Abandoned>());
}

#[test]
fn one_pool_serves_reactors_on_many_threads() {
    let pool = ThreadPool::new(2);
    let loops: Vec<_> = (0..4)
        .map(|offset| {
            let pool = pool.clone();
            thread::spawn(move || {
                let results =
                    all(|_| (0..100).map(|number| pool.defer_to_thread(move || Ok(number + offset))).collect());
                results.into_iter().map(Result::unwrap).sum::<i32>()
            })
        })
        .collect();
    let sums: Vec<_> = loops.into_iter().map(|running| running.join().unwrap()).collect();
    assert_eq!(sums, (0..4).map(|offset| 4950 + 100 * offset).collect::<Vec<_>>());
}

#[test]
fn a_closure_is_dropped_in_its_thread_as_soon_as_it_has_returned() {
    struct SendThreadOnDrop(mpsc::Sender<thread::ThreadId>);
    impl Drop for SendThreadOnDrop {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let (sender, dropped) = mpsc::channel();
    let says = SendThreadOnDrop(sender);
    let pool = ThreadPool::new(1);
    let job = park::run_until(|_| {
        let job = pool.defer_to_thread(move || {
            let _says = &says;
            Ok(thread::current().id())
        });
        job.add_callback(move |job| Ok((job, dropped.recv_timeout(LIMIT)?)))
    });
    let (ran, dropped) = job.unwrap();
    assert_eq!(ran, dropped);
}

#[test]
fn several_calls_are_one_job_and_the_first_that_fails_ends_it() {
    let (sender, ran) = mpsc::channel();
    let errors = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = errors.clone();
    let _hook = on_unhandled(move |unhandled| sink.lock().push(unhandled.to_string()));
    let seen = errors.clone();
    park::run_until(move |_| {
        call_multiple_in_thread((0..4).map(|number| {
            let sender = sender.clone();
            move || {
                if number < 2 {
                    Ok(sender.send((number, thread::current().id()))?)
                } else {
                    Err(Failure::msg(number.to_string()))
                }
            }
        }));
        drop(sender);
        deferred_threadpool::inline_callbacks(async move {
            let ran = defer_to_thread(move || Ok(ran.into_iter().collect::<Vec<_>>())).await?;
            assert_eq!(ran.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1]);
            assert_eq!(ran[0].1, ran[1].1);
            // Two threads of the pool: the error may be delivered after the result above.
            let started = Instant::now();
            while seen.lock().is_empty() && started.elapsed() < LIMIT {
                defer_to_thread(|| Ok(())).await?;
            }
            Ok(())
        })
    })
    .unwrap();
    let errors = errors.lock();
    assert!(errors.len() == 1 && errors[0].contains('2') && errors[0].contains("results.rs"), "{errors:?}");
}

#[test]
fn statistics_seen_in_a_callback_are_exact() {
    let pool = ThreadPool::new(1);
    let jobs = pool.clone();
    park::run_until(move |_| {
        deferred_threadpool::inline_callbacks(async move {
            for number in 1..200u64 {
                jobs.defer_to_thread(|| Ok(())).await?;
                let stats = jobs.stats();
                assert_eq!((stats.done, stats.busy, stats.threads), (number, 0, 1), "{stats:?}");
                assert_eq!((stats.waits.count(), stats.runs.count()), (number, number));
            }
            Ok(())
        })
    })
    .unwrap();
}

#[test]
fn a_turn_inside_a_callback_delivers_the_others() {
    let pool = ThreadPool::new(1);
    let results = all(|reactor| {
        let (first, second) = (pool.defer_to_thread(|| Ok(1)), pool.defer_to_thread(|| Ok(2)));
        let there = Rc::new(Cell::new(0));
        let (sees, reactor) = (there.clone(), reactor.clone());
        let second = second.add_callback(move |two| {
            there.set(two);
            Ok(two)
        });
        // Both results are in the list when the first one is delivered.
        let first = first.add_callback(move |one| {
            while sees.get() == 0 {
                let _ = reactor.turn(Waker::noop());
            }
            Ok(one)
        });
        thread::sleep(Duration::from_millis(5));
        vec![first, second]
    });
    assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_single_result_takes_one_turn_after_which_the_loop_sleeps() {
    let pool = ThreadPool::new(1);
    let reactor = Reactor::new();
    let mut job = pool.defer_to_thread_on(&reactor, || Ok(()));
    let turn = loop {
        let turn = reactor.turn(Waker::noop());
        if job.peek().is_some() {
            break turn;
        }
    };
    assert_eq!(turn, Turn::Sleep(None));
}

#[test]
fn more_results_than_fit_in_a_turn_all_arrive() {
    let pool = ThreadPool::new(2);
    for batch in [1, 7, 256] {
        let results = all(|reactor| {
            reactor.set_calls_per_turn(batch);
            (0..1000).map(|number| pool.defer_to_thread(move || Ok(number))).collect()
        });
        assert_eq!(results.into_iter().map(Result::unwrap).sum::<i32>(), (0..1000).sum());
    }
}

/// Sends the name of the thread that drops it, and panics.
struct PanicsOnDrop(mpsc::Sender<String>);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        self.0.send(thread::current().name().unwrap_or_default().to_owned()).unwrap();
        panic!("a hostile value");
    }
}

#[test]
fn an_unwanted_value_is_dropped_in_its_thread_even_if_its_destructor_panics() {
    let (dropped_in, names) = mpsc::channel();
    let messages = Rc::new(RefCell::new(Vec::new()));
    let sink = messages.clone();
    let _hook = on_unhandled(move |unhandled| {
        sink.borrow_mut().push(unhandled.downcast_ref::<Panicked>().map(|panicked| panicked.message().to_owned()));
    });
    let pool = ThreadPool::builder().name("drops-here").build();
    park::run_until(|_| {
        pool.call_in_thread(move || Ok(PanicsOnDrop(dropped_in)));
        pool.stop()
    })
    .unwrap();
    assert!(names.recv_timeout(LIMIT).unwrap().starts_with("drops-here"));
    assert_eq!(messages.take(), [Some("a hostile value".to_owned())]);
    assert_eq!(pool.stats().panicked, 1);
}

#[test]
fn a_closure_that_panics_when_it_is_refused_is_an_error_of_the_deferred() {
    type Makes = fn() -> ThreadPool;
    let refusing: [(&str, Makes); 2] = [
        ("a stopped pool", || {
            let pool = ThreadPool::new(1);
            drop(park::run_until(|_| pool.stop()));
            pool
        }),
        ("a full queue", || ThreadPool::builder().min_threads(0).max_threads(0).queue_limit(0).build()),
    ];
    for (name, make) in refusing {
        let (dropped_in, _names) = mpsc::channel();
        let hostile = |sender: &mpsc::Sender<String>| {
            let value = PanicsOnDrop(sender.clone());
            move || {
                let _value = &value;
                Ok(())
            }
        };
        let pool = make();
        let on_the_loop = park::run_until(|_| pool.defer_to_thread(hostile(&dropped_in)));
        assert_eq!(on_the_loop.unwrap_err().downcast_ref::<Panicked>().unwrap().message(), "a hostile value", "{name}");
        let call = hostile(&dropped_in);
        let elsewhere = pool.submit(move |_| call()).wait();
        assert!(elsewhere.unwrap_err().check::<Panicked>(), "{name}");
        let closed = {
            let reactor = Reactor::new();
            reactor.close();
            pool.defer_to_thread_on(&reactor, hostile(&dropped_in))
        };
        assert!(closed.try_take().unwrap().unwrap_err().check::<Panicked>(), "{name}");
        let without = pool.defer_to_thread(hostile(&dropped_in));
        assert!(without.try_take().unwrap().unwrap_err().check::<Panicked>(), "{name}");
        let shared = defer_to_thread(hostile(&dropped_in));
        assert!(shared.try_take().unwrap().unwrap_err().check::<Panicked>(), "{name}");
    }
}

#[test]
fn an_unawaited_job_that_outlives_its_loop_reports_no_error() {
    let count = Rc::new(Cell::new(0));
    let sink = count.clone();
    let _hook = on_unhandled(move |_| sink.set(sink.get() + 1));
    let pool = ThreadPool::new(1);
    let (release, released) = mpsc::channel::<()>();
    park::run(|reactor| {
        pool.call_in_thread(move || Ok(released.recv_timeout(LIMIT)?));
        reactor.stop();
    });
    drop(park::run_until(|_| pool.stop_within(Backlog::Cancel, Duration::ZERO)));
    drop(release);
    assert_eq!(count.get(), 0);
    // An error of the call itself is reported.
    let pool = ThreadPool::new(1);
    park::run_until(|_| {
        pool.call_in_thread(|| Err::<(), _>(Failure::msg("its own")));
        pool.stop()
    })
    .unwrap();
    assert_eq!(count.get(), 1);
}
