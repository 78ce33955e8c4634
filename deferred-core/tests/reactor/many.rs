//! Several reactors, one for each thread, that post to each other.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use deferred_core::{Abandoned, Deferred, Failure, ReactorHandle, gather, park};

const THREADS: usize = 4;
const POSTS: usize = 500;

thread_local! {
    /// The number of the last post to this thread's reactor from each thread; posts must arrive in
    /// order.
    static RECEIVED: [Cell<usize>; THREADS] = const { [const { Cell::new(0) }; THREADS] };
}

/// Starts a thread with a reactor. The thread ends when the reactor is stopped, and returns the
/// number of posts that it received.
fn start() -> (ReactorHandle, JoinHandle<usize>) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        park::run(|reactor| sender.send(reactor.handle()).unwrap());
        RECEIVED.with(|seen| seen.iter().map(Cell::get).sum())
    });
    (receiver.recv().unwrap(), thread)
}

#[test]
fn each_reactor_runs_all_posts_in_order() {
    let (handles, threads): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| start()).unzip();
    let posted = park::run_until(|reactor| {
        let rounds = handles.iter().enumerate().map(|(me, handle)| {
            let (done, resolver) = reactor.remote::<()>();
            let others = handles.clone();
            // On its own thread, each reactor posts to all reactors, including itself.
            let post_to_all = move || {
                for number in 0..POSTS {
                    for other in &others {
                        let receive =
                            move || RECEIVED.with(|counts| assert_eq!(counts[me].replace(number + 1), number));
                        other.call_from_thread(receive).unwrap();
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
    // The stop runs after all posts.
    handles.iter().for_each(ReactorHandle::stop);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), THREADS * POSTS);
    }
}

#[test]
fn posts_to_a_reactor_that_ends_are_refused_or_abandoned() {
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
        assert!(done >= 50, "posts before the stop have run: {done}");
    }
}

#[test]
fn two_reactors_may_wait_for_each_other() {
    let (other, thread) = start();
    let answer = park::run_until(|reactor| {
        let (answer, resolver) = reactor.remote::<u32>();
        let (here, there) = (reactor.handle(), other.clone());
        let ask_back = move || {
            // The other thread's call comes here and goes back again.
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
