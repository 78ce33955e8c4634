//! Many reactors, one for each thread, which post to each other.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use deferred_core::{Abandoned, Deferred, Failure, ReactorHandle, gather, park};

const THREADS: usize = 4;
const POSTS: usize = 500;

thread_local! {
    /// What was posted to this thread's reactor, by sender, must come in order.
    static SEEN: [Cell<usize>; THREADS] = const { [const { Cell::new(0) }; THREADS] };
}

/// A thread with a reactor, which ends when it is stopped, and gives how much it has seen.
fn start() -> (ReactorHandle, JoinHandle<usize>) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        park::run(|reactor| sender.send(reactor.handle()).unwrap());
        SEEN.with(|seen| seen.iter().map(Cell::get).sum())
    });
    (receiver.recv().unwrap(), thread)
}

#[test]
fn each_hears_all_that_is_posted_to_it_in_order() {
    let (handles, threads): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| start()).unzip();
    let posted = park::run_until(|reactor| {
        let rounds = handles.iter().enumerate().map(|(me, handle)| {
            let (done, resolver) = reactor.remote::<()>();
            let others = handles.clone();
            // On its own thread it posts to all, itself among them.
            let post_to_all = move || {
                for number in 0..POSTS {
                    for other in &others {
                        let hear = move || SEEN.with(|seen| assert_eq!(seen[me].replace(number + 1), number));
                        other.call_from_thread(hear).unwrap();
                    }
                }
                resolver.callback(());
            };
            handle.call_from_thread(post_to_all).unwrap();
            done
        });
        gather(rounds)
    });
    assert_eq!(posted.unwrap().len(), THREADS);
    // Behind all that was posted.
    handles.iter().for_each(ReactorHandle::stop);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), THREADS * POSTS);
    }
}

#[test]
fn work_for_one_that_ends_is_refused_or_abandoned_and_nobody_waits_for_ever() {
    for _ in 0..50 {
        let (worker, thread) = start();
        let outcomes = Rc::new(Cell::new((0, 0, 0)));
        let count = outcomes.clone();
        park::run_until(|reactor| {
            let work: Vec<_> = (0..100)
                .map(|number| {
                    if number == 50 {
                        worker.stop();
                    }
                    let (answer, resolver) = reactor.remote::<usize>();
                    let refused = worker.call_from_thread(move || resolver.callback(number)).is_err();
                    let count = count.clone();
                    answer.add_both(move |result: Result<usize, Failure>| -> Result<(), Failure> {
                        let (done, abandoned, back) = count.get();
                        count.set(match result {
                            Ok(_) => (done + 1, abandoned, back),
                            Err(failure) if failure.check::<Abandoned>() && refused => (done, abandoned, back + 1),
                            Err(failure) if failure.check::<Abandoned>() => (done, abandoned + 1, back),
                            Err(failure) => panic!("{failure:?}"),
                        });
                        Ok(())
                    })
                })
                .collect();
            gather(work).map(drop)
        })
        .unwrap();
        thread.join().unwrap();
        let (done, abandoned, back) = outcomes.get();
        assert_eq!(done + abandoned + back, 100);
        assert!(done >= 50, "what was posted before the stop has run: {done}");
    }
}

#[test]
fn one_may_wait_for_another_that_waits_for_it() {
    let (other, thread) = start();
    let answer = park::run_until(|reactor| {
        let (answer, resolver) = reactor.remote::<u32>();
        let (here, there) = (reactor.handle(), other.clone());
        let ask_back = move || {
            // On the other thread: the call goes here and back again.
            let back = move || {
                let answer = move || resolver.callback(42);
                there.call_from_thread(answer).unwrap();
            };
            here.call_from_thread(back).unwrap();
        };
        other.call_from_thread(ask_back).unwrap();
        answer.add_callback(Deferred::succeed)
    });
    assert_eq!(answer.unwrap(), 42);
    other.stop();
    thread.join().unwrap();
}
