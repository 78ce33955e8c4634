//! Loom tests of every interleaving of pushing, delivering and closing.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::{CompletionList, Pushed};

/// A reactor to which deliveries are posted.
struct Reactor {
    list: CompletionList<u8>,
    posts: crate::sync::Mutex<usize>,
    posted: Notify,
}

impl Reactor {
    fn new() -> Arc<Reactor> {
        let posts = crate::sync::Mutex::new(0);
        Arc::new(Reactor { list: CompletionList::new(), posts, posted: Notify::new() })
    }

    fn post(&self) {
        *self.posts.lock() += 1;
        self.posted.notify();
    }

    fn push(&self) {
        match self.list.push(1) {
            Pushed::Post => self.post(),
            Pushed::AlreadyPosted | Pushed::Closed(_) => {}
        }
    }
}

#[test]
fn loom_pushed_entries_are_delivered_one_at_a_time() {
    loom::model(|| {
        let reactor = Reactor::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let reactor = reactor.clone();
                thread::spawn(move || reactor.push())
            })
            .collect();
        let (mut left, mut delivered) = (VecDeque::new(), 0);
        while delivered < 2 {
            // If an entry is pushed and nothing is posted, loom reports a deadlock.
            while *reactor.posts.lock() == 0 {
                reactor.posted.wait();
            }
            *reactor.posts.lock() -= 1;
            left.extend(reactor.list.take(VecDeque::new()));
            if left.len() > 1 && reactor.list.post_next() {
                reactor.post();
            }
            // A batch of one.
            delivered += usize::from(left.pop_front().is_some());
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn loom_a_closed_list_is_empty() {
    loom::model(|| {
        let reactor = Reactor::new();
        let other = reactor.clone();
        let push = thread::spawn(move || matches!(other.list.push(1), Pushed::Closed(_)));
        let taken = reactor.list.close().len();
        let refused = push.join().unwrap();
        assert_eq!(taken + usize::from(refused), 1);
        assert!(reactor.list.take(VecDeque::new()).is_empty());
    });
}
